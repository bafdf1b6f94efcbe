"""pretrain: blocks of rooms -> a 3D student, or a baseline, trained with cross entropy (paper, sections 3 and 6)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from roomseg.config import PretrainConfig
from roomseg.data.blocks import Corner, cut_block, grid_blocks, random_corner
from roomseg.data.dataset import RoomSet, epoch_order, open_rooms
from roomseg.metrics import all_scores
from roomseg.models.networks import as_network
from roomseg.ports import StageContext
from roomseg.stages.bad_batches import batch_keeper
from roomseg.stages.networks import add_network, build_from_card, card_of, network_confusions
from roomseg.training import FitConfig, fit, halving_lr, training_device

ROOMS_IN_MEMORY = 64


def run(config: PretrainConfig, ctx: StageContext) -> dict[str, float]:
    """Train; returns the best mIoU over the voxels of the validation rooms."""
    train, val = open_rooms(ctx.inputs["rooms"], "train"), open_rooms(ctx.inputs["rooms"], "val")
    card = card_of(config.network, config.skip, train[0])
    model = build_from_card(card, config.drop_path, config.seed).to(training_device())
    if config.compile:
        model.compile()
    task = PretrainTask(model, train, val, config)
    result = fit(
        task,
        torch.optim.Adam(model.parameters(), config.lr),
        halving_lr(config.lr, config.lr_halve_every_epochs * task.steps_per_epoch),
        FitConfig(
            steps=task.steps,
            validate_every=config.validate_every_epochs * task.steps_per_epoch,
            precision=config.precision,
            accumulate=config.accumulate,
            max_bad_steps=config.max_bad_steps,
            sizes="pretrain.batch (with pretrain.accumulate raised), or pretrain.block_voxels",
            seed=config.seed,
        ),
        checkpoints=ctx.checkpoints,
        tracker=ctx.tracker,
        progress=ctx.progress,
        title="pretrain",
        keep_batch=batch_keeper(ctx),
    )
    add_network(ctx, card, result.best_state, result.history)
    return {"val_miou": result.best_score}


class PretrainTask:
    """Batches of blocks, cross entropy, mIoU over whole validation rooms."""

    def __init__(self, model: nn.Module, train: RoomSet, val: RoomSet, config: PretrainConfig) -> None:
        self.model, self.train, self.val, self.config = model, train, val, config
        self.device = next(model.parameters()).device
        self.blocks: list[tuple[int, Corner]] = [
            (room, corner)
            for room, ref in enumerate(train.refs)
            for corner in grid_blocks(ref.shape, config.block_voxels)
        ]
        self.batches_per_epoch = -(-len(self.blocks) // config.batch)
        self.steps_per_epoch = -(-self.batches_per_epoch // config.accumulate)
        self.steps = config.epochs * self.steps_per_epoch
        self.room = lru_cache(maxsize=ROOMS_IN_MEMORY)(train.__getitem__)

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:  # (B, 4, S, S, S) float32, (B, S, S, S) uint8
        chosen = self._chosen(number)
        rng = np.random.default_rng([self.config.seed, number, 2])
        pairs = [self._block(self.blocks[i], rng) for i in chosen]
        volumes, labels = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*pairs, strict=True))
        return volumes, labels

    def describe(self, number: int) -> str:
        return "rooms " + ", ".join(self.train.refs[self.blocks[i][0]].id for i in self._chosen(number))

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        volumes, labels = (t.to(self.device) for t in batch)
        return as_network(self.model).loss(volumes, labels, self.config.void_weight), {}

    def validate(self) -> dict[str, float]:
        return all_scores(network_confusions(self.model, self.val))

    def _chosen(self, number: int) -> np.ndarray:  # (B,) places in ``blocks``
        epoch, position = divmod(number, self.batches_per_epoch)
        order = epoch_order(self.config.seed, epoch, len(self.blocks))
        return order[position * self.config.batch : (position + 1) * self.config.batch]

    def _block(self, block: tuple[int, Corner], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        index, corner = block
        room = self.room(index)
        if self.config.cut == "random":
            corner = random_corner(room.tsdf, self.config.block_voxels, rng)
        return cut_block(room, corner, self.config.block_voxels)
