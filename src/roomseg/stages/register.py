"""register: the distilled student becomes a version in the model registry, and champion if the gate says so."""

from __future__ import annotations

import shutil

from roomseg.config import RegisterConfig
from roomseg.ports import Champion, Evidence, StageContext
from roomseg.stages.gate import DISTILLED, judge
from roomseg.stages.outputs import add_json
from roomseg.stages.room_results import NAME, unpacked

MODEL_FILES = ("model.safetensors", "model.json")
CHALLENGER = "challenger"
GATE = "gate"  # the version's tag with the reason
OWN_SCORES = "distilled_"  # prefix of the student's own scores among those of an evaluation


def run(config: RegisterConfig, ctx: StageContext) -> dict[str, float]:
    """Register; writes ``registered.json``: name, version, whether it is the champion now, and the gate's reason."""
    distilled, evaluation = ctx.inputs["distilled"], ctx.inputs["evaluation"]
    folder = ctx.work_dir / "model"
    folder.mkdir(exist_ok=True)
    for name in MODEL_FILES:
        shutil.copyfile(distilled.path(name), folder / name)
    file = evaluation.path(NAME)
    results = unpacked(file.read_bytes(), f"{NAME} of the evaluation")
    champion = ctx.registry.champion(config.model_name)
    verdict = judge(config, results, distilled.digest, champion)
    reason = why_it_is_champion(champion, distilled.digest) or verdict.reason
    own = {k.removeprefix(OWN_SCORES): v for k, v in evaluation.scores.items() if k.startswith(OWN_SCORES)}
    tags = {
        DISTILLED: distilled.digest,
        "evaluation": evaluation.digest,
        "rooms": evaluation.parents["rooms"],
        "test_rooms": results.rooms_digest,
        "licence": config.licence,
        GATE: reason,
    }
    evidence = Evidence(own, results.rooms_digest, file)
    alias = None if verdict.outcome == "keep" else CHALLENGER  # one that waits for a person is not put aside
    version = ctx.registry.register(config.model_name, folder, evaluation.scores, tags, evidence, alias)
    if verdict.outcome == "champion":
        ctx.registry.promote(config.model_name, version)
    stands = verdict.outcome == "champion" or (champion is not None and champion.version == version)
    told = {"name": config.model_name, "version": version, "champion": stands, "reason": reason}
    add_json(ctx, "registered.json", told)
    return {"version": float(version), "champion": float(stands)}


def why_it_is_champion(champion: Champion | None, distilled: str) -> str | None:
    """The reason of the attempt or run that made this student the champion; None if it is not."""
    return champion.tags.get(GATE) if champion is not None and champion.tags.get(DISTILLED) == distilled else None
