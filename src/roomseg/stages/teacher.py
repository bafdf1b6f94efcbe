"""teacher: panoramas -> a 2D Segmenter finetuned on them (paper, sections 4 and 6)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from roomseg.config import TeacherConfig
from roomseg.data.dataset import RoomSet, epoch_order, open_rooms
from roomseg.data.panoramas import IGNORED, Augmentation, augment_panorama
from roomseg.data.rooms import Panorama
from roomseg.errors import UserError, told_when_memory_runs_out
from roomseg.metrics import ConfusionMatrix, all_scores
from roomseg.models.teacher import DecoderName, Teacher, build_teacher, load_teacher_weights
from roomseg.models.vit import Normalization
from roomseg.ports import ArtifactReader, StageContext
from roomseg.stages.bad_batches import batch_keeper
from roomseg.stages.outputs import add_json, read_json
from roomseg.training import FitConfig, FitResult, fit, poly_lr, training_device


@dataclass(frozen=True)
class TeacherCard:
    """What one needs to rebuild a teacher and to feed it: ``teacher.json``."""

    backbone: str
    decoder: DecoderName
    patch: int
    height: int  # of the panoramas, in pixels; the width is twice that
    labels: str  # text of the label set (labels.py)
    classes: tuple[str, ...]  # its names, so that the file can be read without it
    normalization: Normalization  # mean and deviation of red, green and blue in [0, 1]


def run(config: TeacherConfig, ctx: StageContext) -> dict[str, float]:
    """Train; returns the best validation mIoU of the panoramas."""
    train, val = open_rooms(ctx.inputs["rooms"], "train"), open_rooms(ctx.inputs["rooms"], "val")
    labels, height = train.labels, panorama_height(train, "train")
    panorama_height(val, "val")
    model = build_teacher(
        config.backbone,
        len(labels),
        config.decoder,
        image_size=(height, 2 * height),
        patch=config.patch,
        drop_path=config.drop_path,
        seed=config.seed,
    )
    _start(model, config, ctx)
    card = TeacherCard(
        config.backbone, config.decoder, model.encoder.patch, height, labels.text, labels.names, model.normalization
    )
    result = _train(TeacherTask(model.to(training_device()), train, val, config), config, ctx)
    path = ctx.work_dir / "teacher.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in result.best_state.items()}, path)
    ctx.outputs.add("teacher.safetensors", path)
    add_json(ctx, "teacher.json", asdict(card) | {"normalization": card.normalization._asdict()})
    add_json(ctx, "history.json", result.history)
    return {"val_miou": result.best_score}


def _start(model: Teacher, config: TeacherConfig, ctx: StageContext) -> None:
    """Give the model its start weights; a file also has a say in the normalisation, so it is read on a resume too."""
    if config.start == "random":
        return
    from roomseg.models import teacher_start

    files = {name: ctx.fetch(uri) for name, uri in config.outside_files().items()}
    if "variant" in files:
        teacher_start.start_from_segmenter(model, files["start"], files["variant"], config.start_decoder)
    elif files:
        teacher_start.start_from_vit(model, files["start"])
    elif ctx.checkpoints.latest() is None:
        teacher_start.start_from_hub(model, config.backbone, config.start)


class TeacherTask:
    """Batches of augmented panoramas, plain cross entropy over all classes, mIoU over the validation panoramas.

    Void is a class: the student is taught to tell it too. An epoch has one panorama of each room.
    """

    def __init__(self, model: Teacher, train: RoomSet, val: RoomSet, config: TeacherConfig) -> None:
        self.model, self.train, self.val, self.config = model, train, val, config
        self.augmentation = Augmentation(config.scale_range, config.crop)
        self.device = next(model.parameters()).device
        self.batches_per_epoch = -(-len(train) // config.batch)
        self.steps_per_epoch = -(-self.batches_per_epoch // config.accumulate)
        self.steps = config.epochs * self.steps_per_epoch

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:  # (B, 3, H, W) uint8 RGB, (B, H, W) int64
        rng = np.random.default_rng([self.config.seed, number, 1])
        views = [self._draw(int(room), rng) for room in self._chosen(number)]
        pairs = [augment_panorama(view.rgb, view.label, rng, self.augmentation) for view in views]
        images = torch.stack([torch.from_numpy(rgb) for rgb, _ in pairs]).permute(0, 3, 1, 2)
        return images, torch.stack([torch.from_numpy(label.astype(np.int64)) for _, label in pairs])

    def describe(self, number: int) -> str:
        return "rooms " + ", ".join(self.train.refs[int(room)].id for room in self._chosen(number))

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        images, labels = (t.to(self.device) for t in batch)
        return F.cross_entropy(self.model(images), labels, ignore_index=IGNORED), {}

    def validate(self) -> dict[str, float]:
        return all_scores(teacher_confusions(self.model, self.val))

    def _chosen(self, number: int) -> np.ndarray:  # (B,) rooms
        epoch, position = divmod(number, self.batches_per_epoch)
        order = epoch_order(self.config.seed, epoch, len(self.train))
        return order[position * self.config.batch : (position + 1) * self.config.batch]

    def _draw(self, room: int, rng: np.random.Generator) -> Panorama:
        """One of the room's panoramas; a room without any leaves its turn to the next one that has."""
        while not len(views := self.train.refs[room].panoramas()):
            room = (room + 1) % len(self.train)
        return views[int(rng.integers(len(views)))]


def teacher_confusions(model: Teacher, rooms: RoomSet) -> list[np.ndarray]:  # (K, K) int64 each, rows truth
    """A confusion matrix a room that has panoramas, over their pixels; the model is in eval mode."""
    confusions = []
    for ref in rooms.refs:
        if len(views := ref.panoramas()):
            confusion = ConfusionMatrix(model.decoder.classes)
            for view in views:
                confusion.add(view.label, teacher_labels(model, view))
            confusions.append(confusion.counts)
    return confusions


def teacher_labels(model: Teacher, view: Panorama) -> np.ndarray:  # (H, 2H) uint8
    device = next(model.parameters()).device
    with torch.inference_mode(), told_of_the_panorama(view):
        logits = model(panorama_tensor(view).to(device))
    return logits.argmax(dim=1)[0].to("cpu", torch.uint8).numpy()


def told_of_the_panorama(view: Panorama) -> AbstractContextManager[None]:
    """Says what to lower where the memory is too small for the teacher to look at a panorama."""
    height, width = view.label.shape
    return told_when_memory_runs_out(
        lambda where: (
            f"out of {where} memory as the teacher looked at a panorama of {height} x {width} pixels; lower "
            "render.panorama_height, or take a machine with more memory"
        )
    )


def load_teacher(artifact: ArtifactReader) -> Teacher:
    """The trained teacher of a finished artifact, in eval mode."""
    card = read_teacher_card(artifact)
    size = (card.height, 2 * card.height)
    model = build_teacher(card.backbone, len(card.classes), card.decoder, size, card.patch)
    load_teacher_weights(model, load_file(artifact.path("teacher.safetensors")))
    model.normalization = card.normalization
    return model.eval()


def read_teacher_card(artifact: ArtifactReader) -> TeacherCard:
    values = read_json(artifact, "teacher.json")
    mean, std = (tuple(values["normalization"][name]) for name in Normalization._fields)
    return TeacherCard(**values | {"classes": tuple(values["classes"]), "normalization": Normalization(mean, std)})


def panorama_tensor(view: Panorama) -> torch.Tensor:  # (1, 3, H, 2H) uint8 RGB, as ``Teacher`` takes it
    return torch.from_numpy(view.rgb.copy()).permute(2, 0, 1)[None]


def panorama_height(rooms: RoomSet, split: str) -> int:
    """Of the first panorama, in pixels; raises UserError where no room has one."""
    for ref in rooms.refs:
        for view in ref.panoramas()[:1]:
            return view.label.shape[0]
    raise UserError(
        f"no room of the {split} split has a panorama; expected one at least (render.panoramas_per_room; of the "
        "published release render.panorooms3d_split=house)"
    )


def _train(task: TeacherTask, config: TeacherConfig, ctx: StageContext) -> FitResult:
    return fit(
        task,
        _optimizer(task.model, config),
        poly_lr(config.lr, task.steps, 0.9),
        FitConfig(
            steps=task.steps,
            validate_every=config.validate_every_epochs * task.steps_per_epoch,
            precision=config.precision,
            accumulate=config.accumulate,
            max_bad_steps=config.max_bad_steps,
            sizes="teacher.batch (with teacher.accumulate raised), or teacher.crop",
            seed=config.seed,
            max_grad_norm=1.0 if config.optimizer == "adamw" else None,
        ),
        checkpoints=ctx.checkpoints,
        tracker=ctx.tracker,
        progress=ctx.progress,
        title="teacher",
        keep_batch=batch_keeper(ctx),
    )


def _optimizer(model: Teacher, config: TeacherConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), config.lr, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay)
