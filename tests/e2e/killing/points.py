"""Where stages are killed, and the same command given again and again until it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
FILE, OBJECT, ON_CONDITION = (
    f"roomseg.runtime.s3:S3Store.{name}" for name in ("put_file", "put_bytes", "put_if_absent")
)
CLIENT = "mlflow.tracking.client:MlflowClient"
CHECKPOINTS = "roomseg.runtime.checkpoints"
VALIDATION = "roomseg.training:_validate"


@dataclass(frozen=True)
class KillPoint:
    """See ``sitecustomize.Point``."""

    at: str
    call: int = 1
    when: str = "before"
    match: str = ""
    inside: str = ""


# In the order in which a stage comes to them; calls are counted in the attempt that gets there.
ON_S3: Mapping[str, Mapping[str, KillPoint]] = {
    "render": {
        "rooms-half-rendered": KillPoint("roomseg.runtime.progress:_LineBar.advance", when="after"),
        "shard-half-uploaded": KillPoint("http.client:HTTPConnection.send", call=2, when="half", inside=FILE),
        "shard-without-journal": KillPoint(OBJECT, match="/added/"),
        "between-last-shard-and-manifest": KillPoint(ON_CONDITION, match="/manifest.json"),
        "manifest-without-end-of-run": KillPoint(ON_CONDITION, match="/manifest.json", when="after"),
    },
    "teacher": {
        "between-parts-of-a-checkpoint": KillPoint(
            "botocore.client:BaseClient._make_api_call", call=2, match="UploadPart", inside=FILE
        ),
        "checkpoint-without-manifest": KillPoint(OBJECT, match="checkpoints/teacher"),
        "during-validation": KillPoint("roomseg.stages.teacher:all_scores", inside=VALIDATION),
        "after-validation": KillPoint(VALIDATION, when="after"),
        "between-last-file-and-manifest": KillPoint(ON_CONDITION, match="/manifest.json"),
        "checkpoints-half-removed": KillPoint(
            "roomseg.runtime.s3:S3Store.delete",
            call=2,
            match="checkpoints/teacher",
            inside=f"{CHECKPOINTS}:StoreCheckpoints.clear",
        ),
    },
    "pretrain": {
        "between-steps": KillPoint("roomseg.training:_Step._update", call=2, when="after"),
        "weights-half-uploaded": KillPoint(
            "http.client:HTTPConnection.send",
            call=3,
            when="half",
            inside="roomseg.runtime.artifacts:StoreArtifactWriter.add",
        ),
        "between-last-file-and-manifest": KillPoint(ON_CONDITION, match="/manifest.json"),
    },
    "distill": {
        "between-steps": KillPoint("roomseg.training:_Step._update", when="after"),
        "during-validation": KillPoint("roomseg.stages.networks:room_confusion", inside=VALIDATION),
        "checkpoint-half-written": KillPoint("torch:save", when="after", inside=f"{CHECKPOINTS}:_write_state"),
        "after-a-checkpoint": KillPoint(f"{CHECKPOINTS}:StoreCheckpoints.save", when="after"),
        "between-last-file-and-manifest": KillPoint(ON_CONDITION, match="/manifest.json"),
        "manifest-without-end-of-run": KillPoint(ON_CONDITION, match="/manifest.json", when="after"),
    },
    "evaluate": {
        "a-model-half-judged": KillPoint("roomseg.stages.networks:room_confusion"),
        "some-files-added": KillPoint("roomseg.runtime.artifacts:StoreArtifactWriter.add", call=3, when="after"),
        "between-last-file-and-manifest": KillPoint(ON_CONDITION, match="/manifest.json"),
    },
    "register": {
        "model-half-uploaded": KillPoint("shutil:copyfile", call=2, inside=f"{CLIENT}.log_model_artifacts"),
        "between-files-and-version": KillPoint(f"{CLIENT}.create_model_version"),
        "between-version-and-alias": KillPoint(f"{CLIENT}.create_model_version", when="after"),
        "between-alias-and-champion": KillPoint(f"{CLIENT}.set_registered_model_alias", match="champion"),
        "between-champion-and-challenger": KillPoint(f"{CLIENT}.delete_registered_model_alias"),
        "between-champion-and-manifest": KillPoint(ON_CONDITION, match="/manifest.json"),
        "manifest-without-end-of-run": KillPoint(ON_CONDITION, match="/manifest.json", when="after"),
    },
}


def killing(points: Mapping[str, KillPoint], marks: Path) -> dict[str, str]:
    """What the environment needs so that Python kills itself at these points, once at each."""
    marks.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps({name: asdict(point) for name, point in points.items()})
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "KILL_POINTS": wanted, "KILL_MARKS": str(marks)}


def again_until_it_ends(command: Sequence[str], points: Mapping[str, KillPoint], marks: Path) -> None:
    """The same command until it ends by itself; it must have been killed at each of the points, and left no process."""
    environment = os.environ | killing(points, marks)
    for _ in range(len(points) + 1):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1700)
        if done.returncode != -signal.SIGKILL:
            break
        wait_for_the_others(marks)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert {path.name for path in marks.iterdir()} == set(points)


def wait_for_the_others(marks: Path, patience_s: float = 300.0) -> None:
    """Until all that a killed process had started has ended too."""
    end = time.monotonic() + patience_s
    while left := [each.parent.name for each in Path("/proc").glob("[0-9]*/environ") if str(marks) in _text(each)]:
        assert time.monotonic() < end, f"processes {left} outlive the one that started them"
        time.sleep(0.1)


def _text(environ: Path) -> str:
    try:
        return environ.read_bytes().decode(errors="replace")
    except OSError:
        return ""  # it has ended, or is another user's
