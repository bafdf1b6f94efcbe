"""One process of a team, as ``torchrun`` starts it: ``python -m roomseg.runtime.team_member [FOLDER]``.

With a folder the team is of one machine; without, it is a TrainJob's, whose nodes have their job in the environment.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from roomseg.config import parse_section
from roomseg.errors import UserError, out_of_memory, told_when_memory_runs_out
from roomseg.processes import die_with_parent, share_cores
from roomseg.runtime.distributed import TeamJob, tell_error
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.stage import assist_stage, read_inputs, run_stage
from roomseg.runtime.train_job import TEAM_JOB

if TYPE_CHECKING:
    from torch import distributed

PATIENCE = timedelta(days=2)  # the others wait while the first one validates; torchrun notices who dies


def main(folder: Path) -> int:
    _start()
    job = TeamJob(**json.loads((folder / "job.json").read_text()))
    rank = int(os.environ["RANK"])
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    _join(_store_on_loopback(rank))
    try:
        _take_part(job, rank)
    except UserError as error:
        tell_error(folder, rank, error)
        return error.exit_code
    _leave()
    return 0


def main_of_node() -> int:
    """The same for a node of a TrainJob: its error is the last that it prints."""
    _start()
    job = TeamJob(**json.loads(os.environ[TEAM_JOB]))
    _join()
    try:
        _check_share(job)
        manifests = read_inputs(job.stage, job.inputs, job.store)
        _take_part(
            replace(job, inputs={name: each.to_json() for name, each in manifests.items()}), int(os.environ["RANK"])
        )
    except UserError as error:
        print(f"roomseg {job.stage}: error: {error}", file=sys.stderr)
        return error.exit_code
    _leave()
    return 0


def _check_share(job: TeamJob) -> None:
    batches, size = getattr(parse_section(job.stage, job.section), "accumulate", 1), int(os.environ["WORLD_SIZE"])
    if batches % size:
        raise UserError(
            f"{job.stage}.accumulate is {batches}; expected a multiple of the {size} processes of the nodes"
        )


def _start() -> None:
    die_with_parent()
    share_cores(int(os.environ["LOCAL_WORLD_SIZE"]))


def _store_on_loopback(rank: int) -> distributed.Store:
    """Through which the members find each other. The one that torch would start listens on all addresses."""
    from torch import distributed

    where, port, fd = "127.0.0.1", int(os.environ["MASTER_PORT"]), None
    if rank == 0:
        with socket.create_server((where, port)) as listening:
            fd = listening.detach()
    return distributed.TCPStore(where, port, int(os.environ["WORLD_SIZE"]), rank == 0, master_listen_fd=fd)


def _join(store: distributed.Store | None = None) -> None:
    """By the addresses in the environment where no store is given."""
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    distributed.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=size)


def _leave() -> None:
    from torch import distributed

    distributed.destroy_process_group()


def _take_part(job: TeamJob, rank: int) -> None:
    with told_when_memory_runs_out(lambda where: f"{job.stage}: {out_of_memory(where)}"):
        _run_share(job, rank)


def _run_share(job: TeamJob, rank: int) -> None:
    section = parse_section(job.stage, job.section)
    inputs = {name: Manifest.from_json(text) for name, text in job.inputs.items()}
    if rank > 0:
        assist_stage(job.stage, section, store=job.store, inputs=inputs, rank=rank)
        return
    run_stage(job.stage, section, store=job.store, inputs=inputs, run_id=job.run_id, tracking_uri=job.tracking_uri)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) if len(sys.argv) > 1 else main_of_node())
