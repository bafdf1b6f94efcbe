"""evaluate: checkpoints + test rooms -> scores of every model, and the report.

Two simple predictors frame the networks: the constant one (the commonest class of the training rooms everywhere) and
the untrained student. Baselines that were trained like the student (``evaluate.baselines``) stand between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
from torch import nn

from roomseg import __version__
from roomseg.config import EvaluateConfig
from roomseg.data.dataset import RoomSet, open_rooms
from roomseg.data.rooms import TSDF_STEPS, Room
from roomseg.labels import VOID, LabelSet, label_set
from roomseg.metrics import all_scores, bootstrap_interval, class_iou, miou
from roomseg.ports import StageContext
from roomseg.report.content import Curve, ModelScores, ReportContent, RoomPicture
from roomseg.report.page import write_report
from roomseg.report.pictures import hero_picture
from roomseg.splits import SPLITS
from roomseg.stages.distillation.preview import panorama_picture
from roomseg.stages.networks import build_from_card, load_network, load_student, predict_room, read_card, room_confusion
from roomseg.stages.outputs import add_json, read_json
from roomseg.stages.teacher import load_teacher, teacher_confusions
from roomseg.training import training_device

TRAINED = ("teacher", "pretrained", "distilled")
BASELINE = "baseline_"  # inputs of that prefix are baselines
PANORAMA_PICTURES = 2


def run(config: EvaluateConfig, ctx: StageContext) -> dict[str, float]:
    """Score every model on the test rooms; writes ``scores.json``, ``confusion.json``, ``report.html``, a picture."""
    test = open_rooms(ctx.inputs["rooms"], "test")
    audit = read_json(ctx.inputs["rooms"], "audit.json")
    labels = label_set(read_card(ctx.inputs["distilled"]).labels)
    teacher = load_teacher(ctx.inputs["teacher"]).to(training_device())
    networks = load_networks(ctx, config.seed)
    average = config.average_symmetries
    confusions = {"constant": constant_confusions(audit, test, labels)}
    for name, model in networks.items():
        rooms = ctx.progress.track(test, f"evaluate: {name}", total=len(test), unit="rooms")
        confusions[name] = [room_confusion(room, predict_room(model, room, average)) for room in rooms]
    models = [model_scores(name, matrices, config) for name, matrices in confusions.items()]
    on_panoramas = teacher_confusions(teacher, test)
    teacher_2d = all_scores(on_panoramas) if on_panoramas else {}
    confusion = np.sum(confusions["distilled student"], axis=0)  # (K, K)
    add_json(ctx, "scores.json", {"teacher_2d": teacher_2d, "models": [asdict(model) for model in models]})
    add_json(ctx, "confusion.json", {"classes": list(labels.names), "voxels": confusion.tolist()})
    last = networks["distilled student"]
    content = ReportContent(
        title="roomseg: evaluation",
        labels=labels,
        facts=report_facts(ctx, audit),
        teacher_2d=teacher_2d,
        models=models,
        confusion=confusion,
        rooms=[room_picture(last, room, average) for room in islice(test, config.pictured_rooms)],
        panoramas=[
            panorama_picture(teacher, last, room, average=average) for room in islice(_seen(test), PANORAMA_PICTURES)
        ],
        curves=[Curve(name, read_json(ctx.inputs[name], "history.json")) for name in TRAINED],
        timings=[(name, artifact.seconds) for name, artifact in ctx.inputs.items()],
        credits=audit["credits"],
    )
    write_pictures(ctx, content)
    return headline(teacher_2d, models)


def load_networks(ctx: StageContext, seed: int) -> dict[str, nn.Module]:
    """Untrained student, baselines, pretrained and distilled student, in this order; ready for prediction."""
    untrained = build_from_card(read_card(ctx.inputs["distilled"]), seed=seed).eval()
    baselines = {
        name.removeprefix(BASELINE): load_network(ctx.inputs[name])
        for name in sorted(ctx.inputs)
        if name.startswith(BASELINE)
    }
    networks = {
        "untrained student": untrained,
        **baselines,
        "pretrained student": load_student(ctx.inputs["pretrained"]),
        "distilled student": load_student(ctx.inputs["distilled"]),
    }
    return {name: network.to(training_device()) for name, network in networks.items()}


def constant_confusions(audit: dict[str, Any], rooms: RoomSet, labels: LabelSet) -> list[np.ndarray]:
    """Of predicting the commonest class of the training rooms (void aside) at every voxel that is not empty."""
    counts = audit["class_voxels"]["train"]
    commonest = max(labels.names[VOID + 1 :], key=counts.__getitem__)
    return [
        room_confusion(room, np.where(room.tsdf < TSDF_STEPS, labels.id(commonest), VOID).astype(np.uint8))
        for room in rooms
    ]


def model_scores(name: str, matrices: Sequence[np.ndarray], config: EvaluateConfig) -> ModelScores:
    scores = all_scores(matrices)
    return ModelScores(
        name=name,
        miou=scores["miou"],
        miou_interval=bootstrap_interval(matrices, miou, config.bootstrap_samples, config.seed),
        miou_published=scores["miou_published"],
        macc=scores["macc"],
        aacc=scores["aacc"],
        per_class_iou=[None if np.isnan(iou) else float(iou) for iou in class_iou(np.stack(matrices))],
    )


def room_picture(model: nn.Module, room: Room, average: bool) -> RoomPicture:
    predicted = predict_room(model, room, average)
    return RoomPicture(
        room_id=room.id,
        room_type=room.meta["room_type"],
        tsdf=room.tsdf,
        rgb=room.rgb,
        truth=room.label,
        prediction=predicted,
        voxel_m=room.voxel_m,
        miou=miou(room_confusion(room, predicted)[None]),
    )


def _seen(rooms: RoomSet) -> Iterator[Room]:
    """The rooms that have a panorama."""
    return (ref.load() for ref in rooms.refs if len(ref.panoramas()))


def report_facts(ctx: StageContext, audit: dict[str, Any]) -> list[tuple[str, str]]:
    rooms, houses = audit["rooms"], audit["houses"]
    card = read_card(ctx.inputs["distilled"])
    teacher = read_json(ctx.inputs["teacher"], "teacher.json")
    return [
        ("roomseg", __version__),
        *((f"{split} rooms", f"{rooms[split]} in {houses[split]} houses") for split in SPLITS),
        ("houses in two splits", str(audit["houses_in_two_splits"])),
        ("student", f"3D Segmenter {card.network}, {card.voxel_m * 100:g} cm voxels"),
        ("teacher", f"Segmenter {teacher['backbone']}, patch {teacher['patch']}, height {teacher['height']}"),
        ("panorama rays that hit", "not known" if audit["hit_rate"] is None else f"{audit['hit_rate']:.1%}"),
        *((f"digest of {name}", artifact.digest[:16]) for name, artifact in ctx.inputs.items()),
    ]


def write_pictures(ctx: StageContext, content: ReportContent) -> None:
    for name, write in (("report.html", write_report), ("hero.png", hero_picture)):
        path = ctx.work_dir / name
        write(content, path)
        ctx.outputs.add(name, path)


def headline(teacher_2d: dict[str, float], models: Sequence[ModelScores]) -> dict[str, float]:
    """The scores that go with the artifact, such as ``distilled_miou``."""
    scores = {f"teacher_2d_{key}": value for key, value in teacher_2d.items()}
    for model in models:
        short = model.name.removesuffix(" student")
        scores |= {f"{short}_miou": model.miou, f"{short}_miou_published": model.miou_published}
    best = models[-1]
    return scores | {"distilled_macc": best.macc, "distilled_aacc": best.aacc}
