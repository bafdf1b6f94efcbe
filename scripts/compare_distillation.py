"""Does distillation help, and what does a switch of it bring? Several seeds of the distill stage for each arm.

    python scripts/compare_distillation.py --store STORE --arms weight=0 weight=1 --seeds 3
    python scripts/compare_distillation.py --store STORE --arms "" ema_decay=0.9 views=4,views_per_step=2

An arm is what it sets in the section ``distill``, "" being the profile as it is; weight=0 is cross entropy alone.
Rooms, teacher and pretrained student are those of the profile and the settings, made before by `roomseg render`,
`roomseg teacher` and `roomseg pretrain`; all arms start from the same student and have the same number of iterations.
Scored is the best of the validations, on the test rooms. What has been run is not run again; stopped, it continues.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from roomseg.config import PipelineConfig, override
from roomseg.data.dataset import RoomSet, open_rooms
from roomseg.metrics import all_scores
from roomseg.profiles import profile
from roomseg.runtime.artifacts import StoreArtifactReader, cache_dir
from roomseg.runtime.finding import find_inputs
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.stage import run_stage
from roomseg.runtime.storage import open_store
from roomseg.stages.networks import load_student, network_confusions
from roomseg.stages.teacher import load_teacher, teacher_confusions
from roomseg.training import training_device

SCORES = ("miou", "miou_published", "aacc")


def compare(
    config: PipelineConfig, store: str, inputs: Mapping[str, Manifest], arms: Sequence[str], seeds: int
) -> list[dict]:
    """One line a model: teacher, pretrained student, then each arm and seed; seed by seed, so that all keep pace."""
    test = open_rooms(reader(inputs["rooms"], store), "test")
    teacher = load_teacher(reader(inputs["teacher"], store)).to(training_device())
    lines = [{"model": "teacher, 2D", **all_scores(teacher_confusions(teacher, test))}]
    lines.append({"model": "pretrained", **student_scores(inputs["pretrained"], store, test)})
    averaged = student_scores(inputs["pretrained"], store, test, average=True)
    lines.append({"model": "pretrained, all symmetries", **averaged})
    show(lines)
    for seed in range(seeds):
        for arm in arms:
            changed = override(config, [*settings_of(arm), f"distill.seed={seed}"])
            made = run_stage("distill", changed.distill, store=store, inputs=inputs, run_id=changed.run_id)
            scores = student_scores(made, store, test)
            lines.append({"model": arm or "as it is", "seed": seed, "val_miou": made.scores["val_miou"], **scores})
            show(lines[-1:])
    return lines


def settings_of(arm: str) -> list[str]:
    """``--set`` style settings of ``KEY=VALUE,KEY=VALUE``; a comma within brackets belongs to the value."""
    parts = re.split(r",(?![^\[]*\])", arm) if arm else []
    return [f"distill.{part}" for part in parts]


def student_scores(manifest: Manifest, store: str, rooms: RoomSet, average: bool = False) -> dict[str, float]:
    student = load_student(reader(manifest, store)).to(training_device())
    return all_scores(network_confusions(student, rooms, average))


def reader(manifest: Manifest, store: str) -> StoreArtifactReader:
    opened = open_store(store)
    return StoreArtifactReader(opened, manifest, cache_dir(opened))


def show(lines: Sequence[dict]) -> None:
    for line in lines:
        figures = "  ".join(f"{name} {100 * line[name]:5.2f} %" for name in ("val_miou", *SCORES) if name in line)
        seed = f"seed {line['seed']}" if "seed" in line else ""
        print(f"{line['model']:28} {seed:8}{figures}", flush=True)


def show_arms(lines: Sequence[dict]) -> None:
    """Mean and sample deviation over the seeds of each weight."""
    for model in dict.fromkeys(line["model"] for line in lines if "seed" in line):
        of_model = [line for line in lines if line["model"] == model]
        for name in ("val_miou", *SCORES):
            values = [100 * line[name] for line in of_model]
            spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            print(f"{model:28} {name:16}{statistics.mean(values):6.2f}{spread} % over {len(values)} seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--store", default="roomseg-store")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--arms", nargs="+", default=["weight=0", "weight=1"], metavar="KEY=VALUE,...")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every line here")
    arguments = parser.parse_args()
    config = override(profile(arguments.profile), arguments.settings)
    inputs = find_inputs("distill", config, arguments.store)
    lines = compare(config, arguments.store, inputs, arguments.arms, arguments.seeds)
    show_arms(lines)
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
