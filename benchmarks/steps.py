"""What a training step and a prediction of each network cost: the figures from which ``pipeline.py --plan`` works.

python benchmarks/steps.py [--quick] [--json FILE] [--only NAME,NAME]

Core-seconds (time on the wall x threads), two threads that sleep while they wait, float32, default malloc, medians of
three. 3D networks: cross entropy of one block, backward, Adam, for 128^3 voxels; most are measured on blocks of 64^3,
as a U-Net's step on 128^3 does not fit the memory of a small machine. Their peer is the student T in the same run. 2D
Segmenters, mask transformer: one panorama of 512 x 1024, SGD; their peer is the first of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

if __name__ == "__main__":  # before numpy and numba are imported
    os.environ.update(OMP_NUM_THREADS="2", NUMBA_NUM_THREADS="2", OMP_WAIT_POLICY="PASSIVE")

import torch
from models import room_block
from table import Row, argument_parser, median_s, print_table, write_json
from torch import Tensor
from torch.nn import functional as F

from roomseg.models.networks import as_network, build_network
from roomseg.models.teacher import build_teacher

THREADS, CLASSES, BLOCK, REPEATS = 2, 30, 128, 3
SIDES = {"T": 128, "B": 64, "M": 64, "L": 64, "unet3d": 64, "sparse_unet": 64, "sparse_unet_large": 64, "vtunet": 128}
BACKBONES = ("tiny", "small", "base", "large")
QUICK = ("T", "sparse_unet", "tiny")


def network_seconds(name: str, side: int) -> tuple[float, float]:
    """Of a step and of a prediction, on the wall, for 128^3 voxels."""
    model = build_network(name, CLASSES)
    network, adam = as_network(model), torch.optim.Adam(model.parameters(), 1e-3)
    x, labels = room_block(side)
    step_s = median_s(lambda: _step(adam, lambda: network.loss(x, labels)), REPEATS)
    model.eval()
    with torch.no_grad():
        classes_s = median_s(lambda: network.predict(x), REPEATS)
    blocks = (BLOCK / side) ** 3
    return step_s * blocks, classes_s * blocks


def backbone_seconds(name: str, height: int) -> tuple[float, float]:
    """Of a step on one panorama, and of its classes."""
    model = build_teacher(name, CLASSES, "mask", image_size=(height, 2 * height))
    sgd = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    x, labels = torch.rand(1, 3, height, 2 * height), torch.randint(CLASSES, (1, height, 2 * height))
    step_s = median_s(lambda: _step(sgd, lambda: F.cross_entropy(model(x), labels)), REPEATS)
    model.eval()
    with torch.no_grad():
        classes_s = median_s(lambda: model(x).argmax(1), REPEATS)
    return step_s, classes_s


def _step(optimizer: torch.optim.Optimizer, loss_of: Callable[[], Tensor]) -> None:
    optimizer.zero_grad()
    loss_of().backward()
    optimizer.step()


def rows_of(names: Sequence[str], seconds_of: Callable[[str], tuple[float, float]]) -> Iterator[Row]:
    """Each against the first."""
    first: tuple[float, float] | None = None
    for name in names:
        seconds = seconds_of(name)
        first = first or seconds
        for what, ours, peer in zip(("step", "classes"), seconds, first, strict=True):
            yield Row(f"{what}_{name}", ours * THREADS, "core-s", f"{names[0]}, {peer * THREADS:.4g}", peer / ours)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--only", default=",".join((*SIDES, *BACKBONES)), help="comma-separated; default: all")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    names, height = (QUICK, 128) if options.quick else (options.only.split(","), 512)
    rows = list(rows_of([name for name in SIDES if name in names], lambda name: network_seconds(name, SIDES[name])))
    rows += rows_of([name for name in BACKBONES if name in names], lambda name: backbone_seconds(name, height))
    print_table(rows)
    if options.json:
        write_json(rows, options.json)


if __name__ == "__main__":
    main()
