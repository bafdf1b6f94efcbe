"""A training stage on several GPUs: ``torchrun`` with one process a GPU, started by the stage itself.

The first process runs the stage as it would alone; the others take part in the training and write nothing. The batches
of a step (``accumulate``) are shared among them, so what comes out does not depend on how many they are.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from roomseg.config import Section
from roomseg.errors import UsageError, UserError
from roomseg.ports import Evidence
from roomseg.processes import that_share

PROCESSES = "ROOMSEG_PROCESSES"  # in the environment: how many, instead of one a GPU
_NO_SERVER = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"  # of torchrun, for the members: they have one of their own


@dataclass(frozen=True)
class TeamJob:
    """The arguments of ``run_stage`` as JSON types."""

    stage: str
    section: str
    store: str
    inputs: Mapping[str, str]  # name -> the manifest
    run_id: str
    tracking_uri: str | None


def team_size(section: Section, say: Callable[[str], None]) -> int:
    """How many processes a stage takes: the most that share the batches of a step evenly."""
    batches = getattr(section, "accumulate", None)
    if batches is None or "TORCHELASTIC_RUN_ID" in os.environ:  # not a training stage, or in a team already
        return 1
    there = _devices()
    size = that_share(batches, there)
    if size < there:
        say(f"{size} of {there} GPUs take part: accumulate is {batches}, a multiple of {there} would use them all")
    return size


def _devices() -> int:
    chosen = os.environ.get(PROCESSES)
    if chosen is None:
        import torch

        return max(1, torch.cuda.device_count())
    if not chosen.isdigit() or int(chosen) == 0:
        raise UsageError(f"{PROCESSES} is {chosen!r}; expected a number of processes, 1 at least")
    return int(chosen)


def run_team(job: TeamJob, size: int) -> None:
    """Run a stage in so many processes until it is complete; raises ``UserError`` with what ended the first to die."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ[_NO_SERVER] = "1"
    with tempfile.TemporaryDirectory(prefix="roomseg-team-") as folder:
        Path(folder, "job.json").write_text(json.dumps(asdict(job)))
        # They meet in a file: the store that --standalone would start listens on all addresses.
        meeting = ["--rdzv-backend=c10d", "--rdzv-conf=store_type=file", f"--rdzv-endpoint={folder}/meeting"]
        options = [*meeting, f"--nproc-per-node={size}", "--local-addr=127.0.0.1", "--max-restarts=0"]
        try:
            torchrun.run(torchrun.parse_args([*options, "-m", "roomseg.runtime.team_member", folder]))
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise _first_error(job.stage, Path(folder), codes) from None


def _first_error(stage: str, folder: Path, exit_codes: Mapping[int, int]) -> UserError:
    told = sorted(folder.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns)
    if told:
        return UserError(json.loads(told[0].read_text())["error"])
    # Those that survive fail too, as their peer is gone, or are ended by torchrun with SIGTERM.
    killed = [rank for rank, code in exit_codes.items() if code < 0 and code != -signal.SIGTERM]
    rank = min(killed or exit_codes)
    code = exit_codes[rank]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}, see its output"
    return UserError(f"{stage}: process {rank} of the team {how}; the same command continues from the last checkpoint")


class Bystander:
    """Outputs, figures and models of a process that has no say in them: only the first of a team writes."""

    def __contains__(self, name: str) -> bool:
        return False

    def path(self, name: str) -> Path:
        raise KeyError(name)

    def add(self, name: str, path: Path) -> None:
        return

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        return

    def register(
        self,
        name: str,
        model_dir: Path,
        scores: Mapping[str, float],
        tags: Mapping[str, str],
        evidence: Evidence,
        alias: str | None = None,
    ) -> str:
        raise KeyError(name)

    def champion(self, name: str) -> None:
        return None

    def promote(self, name: str, version: str) -> None:
        raise KeyError(name)


def tell_error(folder: Path, rank: int, error: UserError) -> None:
    """Leave an error where ``run_team`` looks for it."""
    part = folder / f"error-{rank}.part"
    part.write_text(json.dumps({"error": str(error)}))
    part.rename(folder / f"error-{rank}.json")
