"""The student against the published operations and against the 3D U-Net, on one block of 128^3 voxels.

python benchmarks/models.py [--quick] [--default-malloc] [--json FILE]

Two threads that sleep while they wait (as in every command of ours), float32, batch 1, drop path 0, everything in turns
in one process; the outputs are compared before the clocks run. The peer "plain" (``plain_student.py``) has the same
weights and computes as the published code does.

- forward_*_vs_plain: a volume in, the class of every voxel out, as a user of a network needs it (ours: ``predict``,
  which never has the volume of logits; peer: logits, then argmax).
- forward_*_logits_vs_plain: the full volume of logits out, on both sides.
- train_*: forward, cross entropy, backward, one step of Adam. train_T_memory: by how much the resident memory of a
  fresh process with the default malloc rises to its peak in that step, after a step on a small block.
- forward_*_vs_unet3d: classes of every voxel, by our own 3D U-Net.
- *_default_malloc: forward rows again, in a process of their own with the default malloc.

glibc gives freed memory back to the system at once, and takes it again by page faults; unless --default-malloc is
given, the benchmark starts itself again with an environment that prevents it, for both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # before numpy and numba are imported
    os.environ.update(OMP_NUM_THREADS="2", NUMBA_NUM_THREADS="2", OMP_WAIT_POLICY="PASSIVE")

import numpy as np
import torch
from plain_student import plain_student
from table import Row, interleaved_medians, median_s, print_table, seconds, write_json
from torch import Tensor
from torch.nn import functional as F

from roomseg.models.student import VARIANTS, Student, build_student
from roomseg.models.unet3d import build_unet3d
from roomseg.models.volumes import EMPTY
from roomseg.models.windows import MULTIPLE

THREADS = 2
TUNED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
SIDE, QUICK_SIDE = 128, 64
UNET_MAPS, QUICK_UNET_MAPS, UNET_RUNS = 64, 16, 3
WHOLE = 10**12  # voxels: never in windows


def room_block(side: int) -> tuple[Tensor, Tensor]:  # (1, 4, S, S, S) float32, (1, S, S, S) uint8
    """A block with a floor, two walls and boxes as thin surfaces, the rest empty."""
    rng = np.random.default_rng(0)
    labels = np.zeros((side, side, side), np.uint8)
    labels[:, :, 6:12], labels[6:12], labels[:, 6:12] = 1, 2, 3
    for _ in range(12):
        i, j, k = rng.integers(12, side - side // 4, 3)
        a, b, c = rng.integers(side // 16, side // 4, 3)
        labels[i : i + a, j : j + b, k : k + c] = rng.integers(4, 30)
    full = labels > 0
    values = rng.uniform(-1, 1, (4, side, side, side)).astype(np.float32)
    empty = np.array(EMPTY, np.float32)[:, None, None, None]
    return torch.from_numpy(np.where(full, values, empty))[None], torch.from_numpy(labels)[None]


class Sides:
    """Ours and the plain student with the same weights."""

    def __init__(self, variant: str, side: int) -> None:
        self.student: Student = build_student(variant, drop_path=0.0)
        self.x, self.labels = room_block(side)
        self.state = dict(self.student.named_parameters())
        self.variant = VARIANTS[variant]
        self.adam = torch.optim.Adam(self.student.parameters(), lr=0.0)  # the same weights in every step

    def plain(self) -> Tensor:
        return plain_student(self.state, self.x, self.variant.depths, self.variant.heads)

    @torch.no_grad()
    def our_logits(self) -> Tensor:
        return self.student(self.x)

    @torch.no_grad()
    def plain_logits(self) -> Tensor:
        return self.plain()

    def our_labels(self) -> Tensor:
        return self.student.predict(self.x, WHOLE)

    @torch.no_grad()
    def plain_labels(self) -> Tensor:
        return self.plain().argmax(1)

    def our_step(self) -> float:
        return self._step(lambda: self.student.loss(self.x, self.labels))

    def plain_step(self) -> float:
        return self._step(lambda: F.cross_entropy(self.plain(), self.labels.long()))

    def _step(self, loss_of: Callable[[], Tensor]) -> float:
        self.adam.zero_grad()
        loss = loss_of()
        loss.backward()
        self.adam.step()
        return loss.item()

    def assert_equal(self, training: bool) -> None:
        torch.testing.assert_close(self.our_logits(), self.plain_logits(), atol=1e-4, rtol=1e-4)
        assert (self.our_labels() == self.plain_labels()).float().mean() > 0.9999
        if training:
            self._assert_equal_steps()

    def _assert_equal_steps(self) -> None:
        gradients = []
        for step in (self.our_step, self.plain_step):
            loss = step()
            gradients.append([p.grad.clone() for p in self.state.values()])
            assert abs(loss - self.our_step()) < 1e-4
        for ours, plain in zip(*gradients, strict=True):
            scale = plain.abs().max().item()
            torch.testing.assert_close(ours, plain, atol=1e-3 * scale + 1e-8, rtol=1e-2)


def speed_rows(variant: str, side: int, repeats: int, training: bool) -> list[Row]:
    sides = Sides(variant, side)
    sides.assert_equal(training)
    pairs = {f"forward_{variant}_vs_plain": (sides.our_labels, sides.plain_labels, "plain student, argmax")}
    logits = (sides.our_logits, sides.plain_logits, "plain student, full logits")
    pairs[f"forward_{variant}_logits_vs_plain"] = logits
    if training:
        pairs[f"train_{variant}_vs_plain"] = (sides.our_step, sides.plain_step, "plain student's step")
    rows = []
    for name, (ours, plain, peer) in pairs.items():
        ours_s, plain_s = interleaved_medians(ours, plain, repeats)
        rows.append(Row(name, ours_s, "s", f"{peer}, {plain_s:.3g} s", plain_s / ours_s))
    return rows


def forward_rows(side: int, repeats: int, training: bool) -> list[Row]:
    """T, then L, which takes longer, so with fewer repeats; ``training`` adds a step of T."""
    return speed_rows("T", side, repeats, training) + speed_rows("L", side, min(repeats, 3), training=False)


def unet_rows(side: int, maps: int, repeats: int) -> list[Row]:
    """The median of UNET_RUNS of the U-Net, which takes tens of seconds at full size, against the median of ours."""
    unet = build_unet3d(30, feature_maps=maps).eval()
    x, _ = room_block(side)
    with torch.no_grad():
        unet_s = statistics.median(seconds(lambda: unet.predict(x)) for _ in range(UNET_RUNS))
    name = "unet3d" if maps == UNET_MAPS else f"unet3d_f{maps}"
    rows = []
    for variant in ("T", "L"):
        student = build_student(variant)
        ours_s = median_s(lambda student=student: student.predict(x, WHOLE), repeats)
        peer = f"3D U-Net of {maps} maps, {unet_s:.3g} s"
        rows.append(Row(f"forward_{variant}_vs_{name}", ours_s, "s", peer, unet_s / ours_s))
    return rows


def memory_row(side: int) -> Row:
    ours, plain = (float(_with_default_malloc("--peak", which, "--side", str(side))) for which in ("ours", "plain"))
    return Row("train_T_memory_vs_plain", ours, "MB", f"plain student's step, {plain:.0f} MB", plain / ours)


def default_malloc_rows(side: int) -> list[Row]:
    """The forward rows, measured in a process with the default malloc."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        _with_default_malloc("--forward-only", "--side", str(side), "--json", str(path))
        rows = [Row(**row) for row in json.loads(path.read_text())]
    return [replace(row, name=f"{row.name}_default_malloc") for row in rows]


def _with_default_malloc(*options: str) -> str:
    """What this file prints in a fresh process."""
    command = [sys.executable, __file__, *options, "--default-malloc"]
    environment = {name: value for name, value in os.environ.items() if name not in TUNED_MALLOC}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def print_peak(which: str, side: int) -> None:
    """By how many MB the resident memory rises to its peak in a training step."""
    for each in (MULTIPLE, side):  # the first compiles kernels and makes the threads' pools
        sides = Sides("T", each)
        # The high-water mark also holds what compiling took, and what the parent had: from here on it is of this step.
        Path("/proc/self/clear_refs").write_text("5")
        resident = _status_mb("VmRSS")
        sides.our_step() if which == "ours" else sides.plain_step()
    print(_status_mb("VmHWM") - resident)


def _status_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help=f"blocks of {QUICK_SIDE}^3, a narrow U-Net: within a minute"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    parser.add_argument("--default-malloc", action="store_true", help="leave glibc's malloc as it is")
    parser.add_argument("--forward-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peak", choices=["ours", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.peak:
        return print_peak(options.peak, options.side)
    tuned = all(os.environ.get(name) == value for name, value in TUNED_MALLOC.items())
    if not tuned and not options.default_malloc:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **TUNED_MALLOC})
    side = options.side or (QUICK_SIDE if options.quick else SIDE)
    repeats = options.repeats or (7 if side == SIDE else 3)
    malloc = (
        "default malloc"
        if not tuned
        else "tuned malloc (" + " ".join(f"{k}={v}" for k, v in TUNED_MALLOC.items()) + ")"
    )
    print(f"one block of {side}^3, float32, {THREADS} threads, medians of {repeats}, {malloc}")
    rows = forward_rows(side, repeats, training=not options.forward_only)
    if not options.forward_only:
        rows.append(memory_row(side))
        rows += unet_rows(side, QUICK_UNET_MAPS if options.quick else UNET_MAPS, repeats)
        if tuned:
            rows += default_malloc_rows(side)
    print_table(rows)
    if options.json:
        write_json(rows, options.json)
    return None


if __name__ == "__main__":
    main()
