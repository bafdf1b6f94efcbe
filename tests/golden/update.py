"""Write the golden pipelines again: ``python -m tests.golden.update``."""

from pathlib import Path

from kfp import compiler

from pipeline import build_pipeline
from roomseg.cluster import ClusterConfig
from roomseg.profiles import profile

GOLDEN = Path(__file__).parent
PROFILES = ("demo", "paper")


def compile_profile(name: str, path: Path) -> None:
    config = profile(name)
    pipeline = build_pipeline(config, ClusterConfig(), "s3://bucket/prefix", "http://mlflow:5000", "golden")
    compiler.Compiler().compile(pipeline, str(path))


if __name__ == "__main__":
    for name in PROFILES:
        compile_profile(name, GOLDEN / f"pipeline_{name}.yaml")
