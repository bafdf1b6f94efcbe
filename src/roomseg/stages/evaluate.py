"""evaluate: checkpoints + test rooms -> scores of every model, and the report.

Two simple predictors frame the networks: the constant one (the commonest class of the training rooms everywhere) and
the untrained student. Baselines and ablations (``comparisons.py``) stand between them and the student.

``average_symmetries`` adds a line for the distilled student averaged over a room's symmetries. Nothing else is
averaged: what the gate compares and what is pictured is the student as it is registered, predicts and is served.

What lies beside the report: ``views/ROOM.html``, the pictured rooms in 3D, ``rooms.csv``, a line a test room, and
``room_results.parquet``, by which ``register`` compares this student with others.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from roomseg import __version__
from roomseg.comparisons import KNOWN, Comparison
from roomseg.config import EvaluateConfig
from roomseg.data.dataset import RoomSet, open_rooms
from roomseg.data.rooms import TSDF_STEPS, Room
from roomseg.labels import VOID, LabelSet, label_set
from roomseg.metrics import all_scores, bootstrap_interval, class_iou, miou, miou_published
from roomseg.ports import ArtifactReader, StageContext
from roomseg.report.content import Curve, ModelScores, ReportContent, RoomPicture, RoomScore
from roomseg.report.page import write_report
from roomseg.report.pictures import hero_picture
from roomseg.splits import SPLITS
from roomseg.stages.distillation.preview import panorama_picture
from roomseg.stages.networks import build_from_card, load_network, load_student, predict_room, read_card, room_confusion
from roomseg.stages.outputs import add_json, read_json
from roomseg.stages.predicting.inputs import open_room
from roomseg.stages.predicting.models import LoadedModel
from roomseg.stages.predicting.result import predict, summary_of
from roomseg.stages.predicting.view import write_view
from roomseg.stages.room_results import add_room_results
from roomseg.stages.teacher import load_teacher, teacher_confusions
from roomseg.training import training_device

TRAINED = ("teacher", "pretrained", "distilled")
STUDENTS = {"pretrain": "pretrained student", "distill": "distilled student"}  # by the stages that train them
AVERAGED = "distilled student, averaged"
PANORAMA_PICTURES = 2


@dataclass(frozen=True)
class Judged:
    """What a model did on the test rooms, in their order."""

    matrices: Sequence[np.ndarray]  # (K, K) each
    network: nn.Module | None = None
    seconds: Sequence[float] = ()  # a room


def run(config: EvaluateConfig, ctx: StageContext) -> dict[str, float]:
    """Score every model on the test rooms; writes ``scores.json``, ``confusion.json``, ``report.html``, a picture."""
    test = open_rooms(ctx.inputs["rooms"], "test")
    audit = read_json(ctx.inputs["rooms"], "audit.json")
    labels = label_set(read_card(ctx.inputs["distilled"]).labels)
    teacher = load_teacher(ctx.inputs["teacher"]).to(training_device())
    networks = load_networks(ctx, config)
    judged = {"constant": Judged(constant_confusions(audit, test, labels))}
    for name, model in networks.items():
        rooms = ctx.progress.track(test, f"evaluate: {name}", total=len(test), unit="rooms")
        judged[name] = judge_network(model, rooms, average=name == AVERAGED)
    models = [model_scores(name, each, config) for name, each in judged.items()]
    lines = room_scores(test, *list(judged.values())[-2:])
    on_panoramas = teacher_confusions(teacher, test)
    teacher_2d = all_scores(on_panoramas) if on_panoramas else {}
    confusion = np.sum(judged["distilled student"].matrices, axis=0)  # (K, K)
    add_json(ctx, "scores.json", {"teacher_2d": teacher_2d, "models": [scores_only(model) for model in models]})
    add_json(ctx, "confusion.json", {"classes": list(labels.names), "voxels": confusion.tolist()})
    add_room_results(ctx, test, judged["distilled student"].matrices)
    last = networks["distilled student"]
    content = ReportContent(
        title="roomseg: evaluation",
        labels=labels,
        facts=report_facts(ctx, audit),
        teacher_2d=teacher_2d,
        models=models,
        ablations=[(each.title, STUDENTS[each.stage]) for each in compared(ctx) if each.kind == "ablation"],
        confusion=confusion,
        device=device_name(),
        rooms=gallery(ctx, last, test, lines, config),
        room_scores=lines,
        panoramas=[panorama_picture(teacher, last, room) for room in islice(_seen(test), PANORAMA_PICTURES)],
        curves=[Curve(name, read_json(ctx.inputs[name], "history.json")) for name in TRAINED],
        timings=[(name, artifact.seconds) for name, artifact in ctx.inputs.items()],
        credits=audit["credits"],
    )
    write_room_scores(ctx, lines)
    write_pictures(ctx, content)
    return headline(teacher_2d, models)


def load_networks(ctx: StageContext, config: EvaluateConfig) -> dict[str, nn.Module]:
    """Untrained student, what it is compared with, pretrained and distilled student: in this order, to predict."""
    distilled = load_student(ctx.inputs["distilled"])
    networks = {
        "untrained student": build_from_card(read_card(ctx.inputs["distilled"]), seed=config.seed).eval(),
        **{each.title: load_network(ctx.inputs[each.port]) for each in compared(ctx)},
        **({AVERAGED: distilled} if config.average_symmetries else {}),
        "pretrained student": load_student(ctx.inputs["pretrained"]),
        "distilled student": distilled,
    }
    return {name: network.to(training_device()) for name, network in networks.items()}


def compared(ctx: StageContext) -> list[Comparison]:
    return [each for each in KNOWN if each.port in ctx.inputs]


def constant_confusions(audit: dict[str, Any], rooms: RoomSet, labels: LabelSet) -> list[np.ndarray]:
    """Of predicting the commonest class of the training rooms (void aside) at every voxel that is not empty."""
    counts = audit["class_voxels"]["train"]
    commonest = max(labels.names[VOID + 1 :], key=counts.__getitem__)
    return [
        room_confusion(room, np.where(room.tsdf < TSDF_STEPS, labels.id(commonest), VOID).astype(np.uint8))
        for room in rooms
    ]


def judge_network(model: nn.Module, rooms: Iterator[Room], average: bool) -> Judged:
    matrices, seconds = [], []
    for room in rooms:
        start = time.perf_counter()
        predicted = predict_room(model, room, average)
        seconds.append(time.perf_counter() - start)
        matrices.append(room_confusion(room, predicted))
    return Judged(matrices, model, seconds)


def model_scores(name: str, judged: Judged, config: EvaluateConfig) -> ModelScores:
    matrices, network = judged.matrices, judged.network
    intervals = {
        metric.__name__: bootstrap_interval(matrices, metric, config.bootstrap_samples, config.seed)
        for metric in (miou, miou_published)
    }
    return ModelScores(
        name=name,
        **all_scores(matrices),
        miou_interval=intervals["miou"],
        miou_published_interval=intervals["miou_published"],
        per_class_iou=[None if np.isnan(iou) else float(iou) for iou in class_iou(np.stack(matrices))],
        parameters=None if network is None else sum(p.numel() for p in network.parameters()),
        seconds_per_room=statistics.median(judged.seconds) if judged.seconds else None,
    )


def scores_only(model: ModelScores) -> dict[str, Any]:
    """What is the same however often it is made: without the time that it took."""
    return {name: value for name, value in asdict(model).items() if name != "seconds_per_room"}


def device_name() -> str:
    device = training_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


def room_scores(rooms: RoomSet, before: Judged, last: Judged) -> list[RoomScore]:
    """A line a room, in the order of the split."""
    lines = []
    for room, old, new in zip(rooms, before.matrices, last.matrices, strict=True):
        x, y, z = (round(side * room.voxel_m, 2) for side in room.tsdf.shape)
        kind = room.meta["room_type"]
        scores = miou(new[None]), miou_published(new[None]), miou(old[None])
        lines.append(RoomScore(room.id, kind, (x, y, z), *scores))
    return lines


def write_room_scores(ctx: StageContext, lines: Sequence[RoomScore]) -> None:
    path = ctx.work_dir / "rooms.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("room", "type", "x_m", "y_m", "z_m", "miou", "miou_published", "miou_before"))
        for line in lines:
            scores = line.miou, line.miou_published, line.before
            table.writerow((line.room_id, line.room_type, *line.size_m, *scores))
    ctx.outputs.add("rooms.csv", path)


def gallery(
    ctx: StageContext, model: nn.Module, rooms: RoomSet, lines: Sequence[RoomScore], config: EvaluateConfig
) -> list[RoomPicture]:
    """The best and the worst rooms, or all where there are no more, the best first; each with its 3D view."""
    order = sorted(range(len(lines)), key=lambda n: (-lines[n].miou, n))
    most = config.pictured_rooms
    groups = {"": order} if len(order) <= 2 * most else {"The best": order[:most], "The worst": order[-most:]}
    loaded = LoadedModel(read_card(ctx.inputs["distilled"]), model, "distilled student")
    pictures = []
    for group, places in groups.items():
        for place in ctx.progress.track(places, f"evaluate: pictures {group.lower()}", total=len(places), unit="rooms"):
            room = rooms[place]
            picture = room_picture(model, room)
            pictures.append(replace(picture, group=group, view=add_view(ctx, loaded, room)))
    return pictures


def add_view(ctx: StageContext, model: LoadedModel, room: Room) -> str:
    """The room in 3D as ``predict`` shows it; the name of the file."""
    name = f"views/{room.id}.html"
    path = ctx.work_dir / name
    path.parent.mkdir(exist_ok=True)
    prediction = predict(open_room(room), model)
    write_view(prediction, summary_of(prediction, model, {}), path)
    ctx.outputs.add(name, path)
    return name


def room_picture(model: nn.Module, room: Room) -> RoomPicture:
    predicted = predict_room(model, room)
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
        *origin_facts(ctx.inputs),
        ("digest of the code of evaluate", ctx.cache.key("code", {}, __name__).rpartition("/")[2][:16]),
    ]


def origin_facts(inputs: Mapping[str, ArtifactReader]) -> list[tuple[str, str]]:
    """What each input is, and by what code it was made."""
    digests = [(f"digest of {name}", artifact.digest[:16]) for name, artifact in inputs.items()]
    return digests + [(f"code that made {name}", artifact.code_version) for name, artifact in inputs.items()]


def write_pictures(ctx: StageContext, content: ReportContent) -> None:
    for name, write in (("report.html", write_report), ("hero.png", hero_picture)):
        path = ctx.work_dir / name
        write(content, path)
        ctx.outputs.add(name, path)


def headline(teacher_2d: dict[str, float], models: Sequence[ModelScores]) -> dict[str, float]:
    """The scores that go with the artifact, such as ``distilled_miou``."""
    scores = {f"teacher_2d_{key}": value for key, value in teacher_2d.items()}
    names = {each.title: each.name for each in KNOWN} | {AVERAGED: "averaged"}
    for model in models:
        short = names.get(model.name, model.name.removesuffix(" student"))
        scores |= {f"{short}_miou": model.miou, f"{short}_miou_published": model.miou_published}
    best = models[-1]
    return scores | {"distilled_macc": best.macc, "distilled_aacc": best.aacc}
