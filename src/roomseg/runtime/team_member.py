"""One process of a team, as ``torchrun`` starts it: ``python -m roomseg.runtime.team_member FOLDER``."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from roomseg.config import parse_section
from roomseg.errors import UserError
from roomseg.runtime.distributed import TeamJob, die_with_parent, tell_error
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.stage import assist_stage, run_stage

PATIENCE = timedelta(days=2)  # the others wait while the first one validates; torchrun notices who dies


def main(folder: Path) -> int:
    die_with_parent()
    job = TeamJob(**json.loads((folder / "job.json").read_text()))
    rank = int(os.environ["RANK"])
    _join()
    try:
        _take_part(job, rank)
    except UserError as error:
        tell_error(folder, rank, error)
        return error.exit_code
    distributed.destroy_process_group()
    return 0


def _join() -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)


def _take_part(job: TeamJob, rank: int) -> None:
    section = parse_section(job.stage, job.section)
    inputs = {name: Manifest.from_json(text) for name, text in job.inputs.items()}
    if rank > 0:
        assist_stage(job.stage, section, store=job.store, inputs=inputs, rank=rank)
        return
    run_stage(job.stage, section, store=job.store, inputs=inputs, run_id=job.run_id, tracking_uri=job.tracking_uri)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
