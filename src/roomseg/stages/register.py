"""register: the distilled student becomes a version in the model registry, and champion if it beats the champion."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from roomseg.config import RegisterConfig
from roomseg.ports import StageContext
from roomseg.stages.outputs import add_json

MODEL_FILES = ("model.safetensors", "model.json")


def run(config: RegisterConfig, ctx: StageContext) -> dict[str, float]:
    """Register; writes ``registered.json`` with name, version, and whether it is the champion now."""
    distilled, evaluation = ctx.inputs["distilled"], ctx.inputs["evaluation"]
    folder = ctx.work_dir / "model"
    folder.mkdir(exist_ok=True)
    for name in MODEL_FILES:
        shutil.copyfile(distilled.path(name), folder / name)
    champion = ctx.registry.champion(config.model_name)
    tags = {"distilled": distilled.digest, "evaluation": evaluation.digest}
    version = ctx.registry.register(config.model_name, folder, evaluation.scores, tags)
    wins = champion is None or champion[0] == version or beats(evaluation.scores, champion[1], config.min_gain)
    if wins:
        ctx.registry.promote(config.model_name, version)
    add_json(ctx, "registered.json", {"name": config.model_name, "version": version, "champion": wins})
    return {"version": float(version), "champion": float(wins)}


def judge(
    config: RegisterConfig, scores: Mapping[str, float], champion: tuple[str, Mapping[str, float]] | None
) -> tuple[str, str]:
    """("register" or "keep", the reason): whether a student with these test scores is to follow the champion."""
    new = f"mIoU {scores['distilled_miou']:.4f}"
    if champion is None:
        return "register", f"{new}, and there is no champion yet"
    version, old = champion
    if "distilled_miou" not in old:
        return "register", f"{new}; the champion, version {version}, has no score: `roomseg promote` decides"
    if old.items() >= scores.items():
        return "register", f"{new}: the champion, version {version}, is this student"
    against = f"{new} against {old['distilled_miou']:.4f} of the champion, version {version}"
    if beats(scores, old, config.min_gain):
        return "register", against
    return "keep", f"{against}; expected a gain of more than {config.min_gain:g}"


def beats(scores: Mapping[str, float], champion: Mapping[str, float], min_gain: float) -> bool:
    """Whether the distilled student's mIoU on its test rooms is above the champion's by ``min_gain``.

    A champion without such a score, as a published checkpoint that somebody promoted, is never beaten by itself.
    """
    return "distilled_miou" in champion and scores["distilled_miou"] > champion["distilled_miou"] + min_gain
