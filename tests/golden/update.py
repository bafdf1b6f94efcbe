"""Write the golden pipelines again: ``python -m tests.golden.update``."""

from pathlib import Path

from kfp import compiler

from pipeline import build_pipeline
from roomseg.profiles import profile

GOLDEN = Path(__file__).parent
PROFILES = ("demo", "paper")


def compile_profile(name: str, path: Path) -> None:
    config = profile(name)
    compiler.Compiler().compile(build_pipeline(config, "s3://bucket/prefix", "http://mlflow:5000", "golden"), str(path))


if __name__ == "__main__":
    for name in PROFILES:
        compile_profile(name, GOLDEN / f"pipeline_{name}.yaml")
