"""The pipeline as ``pipeline.py --local`` runs it, with the retries that its tasks have on a cluster, but no pauses.

Run as ``python -m tests.e2e.retried_pipeline STORE``.
"""

from __future__ import annotations

from kfp import dsl

import pipeline
from roomseg.cli import run_command_line
from roomseg.cluster import ClusterConfig, FanOut, Pod
from roomseg.config import override
from roomseg.profiles import demo
from tests.e2e.test_local_pipeline import TINY


def retried(task: dsl.PipelineTask, pod: Pod, image: str, service_account: str | None) -> dsl.PipelineTask:
    return task.set_retry(pod.retries, backoff_duration="0s")


def main(store: str) -> None:
    build, cluster = pipeline.build_pipeline, ClusterConfig(render=FanOut(shards=1))
    pipeline.place = retried
    pipeline.build_pipeline = lambda config, _, *where: build(config, cluster, *where)
    pipeline.run_local(override(demo(), TINY), store, "", verbose=True)


if __name__ == "__main__":
    run_command_line(main)
