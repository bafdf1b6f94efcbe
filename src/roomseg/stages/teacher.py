"""teacher: panoramas -> a 2D Segmenter finetuned on them (paper, sections 4 and 6)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from roomseg.config import TeacherConfig
from roomseg.data.dataset import RoomSet, epoch_order, open_rooms
from roomseg.data.panoramas import augment_panorama
from roomseg.data.rooms import Panorama
from roomseg.labels import N_CLASSES
from roomseg.metrics import ConfusionMatrix, all_scores
from roomseg.models.teacher import Teacher, build_teacher, normalise_panorama
from roomseg.ports import ArtifactReader, StageContext
from roomseg.stages.outputs import add_json, read_json, room_shards
from roomseg.training import FitConfig, fit, poly_lr, training_device


def run(config: TeacherConfig, ctx: StageContext) -> dict[str, float]:
    """Train; returns the best validation mIoU of the panoramas."""
    shards = room_shards(ctx.inputs["rooms"])
    train, val = open_rooms(shards, "train"), open_rooms(shards, "val")
    height = train.refs[0].panoramas()[0].label.shape[0]
    card = {"backbone": config.backbone, "patch": config.patch, "height": height, "classes": N_CLASSES}
    model = build_teacher(
        config.backbone, N_CLASSES, (height, 2 * height), config.patch, drop_path=config.drop_path, seed=config.seed
    )
    if config.start == "imagenet21k" and ctx.checkpoints.latest() is None:
        _start_from_imagenet(model, config)
    task = TeacherTask(model.to(training_device()), train, val, config)
    result = fit(
        task,
        _optimizer(model, config),
        poly_lr(config.lr, task.steps, 0.9),
        FitConfig(
            steps=task.steps,
            validate_every=config.validate_every_epochs * task.steps_per_epoch,
            precision=config.precision,
            seed=config.seed,
            max_grad_norm=1.0 if config.optimizer == "adamw" else None,
        ),
        checkpoints=ctx.checkpoints,
        tracker=ctx.tracker,
        progress=ctx.progress,
        title="teacher",
    )
    path = ctx.work_dir / "teacher.safetensors"
    save_file(result.best_state, path)
    ctx.outputs.add("teacher.safetensors", path)
    add_json(ctx, "teacher.json", card)
    add_json(ctx, "history.json", result.history)
    return {"val_miou": result.best_score}


class TeacherTask:
    """Batches of augmented panoramas, plain cross entropy, mIoU over the validation panoramas."""

    def __init__(self, model: Teacher, train: RoomSet, val: RoomSet, config: TeacherConfig) -> None:
        self.model, self.train, self.val, self.config = model, train, val, config
        self.device = next(model.parameters()).device
        self.steps_per_epoch = -(-len(train) // config.batch)
        self.steps = config.epochs * self.steps_per_epoch

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:  # (B, 3, H, W) float32, (B, H, W) int64
        epoch, position = divmod(step, self.steps_per_epoch)
        order = epoch_order(self.config.seed, epoch, len(self.train))
        chosen = order[position * self.config.batch : (position + 1) * self.config.batch]
        rng = np.random.default_rng([self.config.seed, step, 1])
        views = [_draw(self.train.refs[i].panoramas(), rng) for i in chosen]
        pairs = [augment_panorama(view.rgb, view.label, rng) for view in views]
        images = normalise_panorama(torch.stack([torch.from_numpy(rgb) for rgb, _ in pairs]))
        labels = torch.stack([torch.from_numpy(label.astype(np.int64)) for _, label in pairs])
        return images, labels

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        images, labels = (t.to(self.device) for t in batch)
        loss = F.cross_entropy(self.model(images), labels)
        return loss, {}

    def validate(self) -> dict[str, float]:
        return all_scores(teacher_confusions(self.model, self.val))


def teacher_confusions(model: Teacher, rooms: RoomSet) -> list[np.ndarray]:  # (K, K) int64 each, rows truth
    """A confusion matrix a room, over the pixels of its panoramas; the model is in eval mode."""
    confusions = []
    for ref in rooms.refs:
        confusion = ConfusionMatrix()
        for view in ref.panoramas():
            confusion.add(view.label, teacher_labels(model, view))
        confusions.append(confusion.counts)
    return confusions


def teacher_labels(model: Teacher, view: Panorama) -> np.ndarray:  # (H, 2H) uint8
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(panorama_tensor(view).to(device))
    return logits.argmax(dim=1)[0].to("cpu", torch.uint8).numpy()


def load_teacher(artifact: ArtifactReader) -> Teacher:
    """The trained teacher of a finished artifact, in eval mode."""
    card = read_json(artifact, "teacher.json")
    model = build_teacher(
        card["backbone"], card["classes"], image_size=(card["height"], 2 * card["height"]), patch=card["patch"]
    )
    model.load_state_dict(load_file(artifact.path("teacher.safetensors")))
    return model.eval()


def panorama_tensor(view: Panorama) -> torch.Tensor:  # (1, 3, H, 2H) float32 in [-1, 1]
    return normalise_panorama(torch.from_numpy(view.rgb.copy())[None])


def _draw(views: tuple[Panorama, ...], rng: np.random.Generator) -> Panorama:
    return views[int(rng.integers(len(views)))]


def _optimizer(model: Teacher, config: TeacherConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), config.lr, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay)


def _start_from_imagenet(model: Teacher, config: TeacherConfig) -> None:
    from roomseg.models.timm_weights import fetch_imagenet21k, load_timm_encoder  # timm loads slowly

    load_timm_encoder(model, fetch_imagenet21k(config.backbone))
