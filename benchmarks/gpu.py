"""The student on a GPU: is it right, how fast, and how near to what the card can do?

python benchmarks/gpu.py [--quick] [--json FILE] [--device cuda|cpu] [--size VOXELS] [--batch 8] [--variants T,B,M,L]

First, loss and gradients are held against float64 on the CPU, on a small block. Then, for each variant in float32 and
bfloat16, eager and compiled: prediction of all labels, a training step (cross entropy, backward, Adam) and a
distillation step (one room, cross entropy and the collapsed loss at as many voxels as a panorama hits), with the peak
of memory. The peer is the plain student (``plain_student.py``) in the same precision. The shares are of what the same
run measures for a large matrix product and a large copy; they count the operations of products and convolutions alone,
and as bytes only what must be moved (volume in, labels out), so both are lower bounds. Blocks have 128 voxels a side,
on a CPU 64: there the script runs to be tested, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from plain_student import plain_student
from table import Row, argument_parser, print_table, write_json
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from roomseg.losses import CollapsedTeacher, collapsed_distillation
from roomseg.models.student import VARIANTS, Student, build_student

CLASSES, HIT_VOXELS, TAU = 30, 65_000, 20.0
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Error of the loss and of the whole gradient against float64, as a share of their size.
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}


@dataclass(frozen=True)
class Card:
    device: torch.device

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def peak_mb(self, into: list[float]) -> Iterator[None]:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        yield
        into.append(torch.cuda.max_memory_allocated() / 1e6 if self.device.type == "cuda" else float("nan"))

    def median_s(self, call: Callable[[], object], repeats: int) -> float:
        call()  # compiles, and fills the allocator's pool
        times = []
        for _ in range(repeats):
            self.wait()
            started = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - started)
        return sorted(times)[len(times) // 2]

    def describe(self) -> str:
        if self.device.type == "cpu":
            return f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}: a test, no measurement"
        name = torch.cuda.get_device_name()
        built = f"torch {torch.__version__} for CUDA {torch.version.cuda}"
        return f"{name}, driver {driver_version()}, {built}, {time.strftime('%Y-%m-%d')}"


def driver_version(proc: Path = Path("/proc/driver/nvidia/version")) -> str:
    """Of NVIDIA's kernel module, as nvidia-smi tells it, or the module itself where a container has no nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
        if told.strip():
            return told.split()[0]
    text = proc.read_text() if proc.is_file() else ""
    found = re.search(r"Kernel Module .*?\b(\d+\.\d+(\.\d+)?)", text)
    return found[1] if found else "unknown"


def bandwidth(card: Card, megabytes: int, repeats: int) -> float:  # bytes a second, read and written
    source = torch.empty(megabytes * 1_000_000, dtype=torch.uint8, device=card.device)
    target = torch.empty_like(source)
    return 2 * source.numel() / card.median_s(lambda: target.copy_(source), repeats)


def matrix_rate(card: Card, precision: str, side: int, repeats: int) -> float:  # operations a second
    a = torch.randn(side, side, device=card.device, dtype=PRECISIONS[precision])
    return 2 * side**3 / card.median_s(lambda: a @ a, repeats)


class Case:
    """One variant in one precision with its batch."""

    def __init__(self, card: Card, variant: str, precision: str, side: int, batch: int) -> None:
        self.card, self.variant, self.precision = card, VARIANTS[variant], precision
        self.student: Student = build_student(variant, CLASSES, drop_path=0.0).to(card.device)
        self.state = dict(self.student.named_parameters())
        generator = torch.Generator().manual_seed(0)
        shape = (side, side, side)
        self.x = torch.rand((batch, 4, *shape), generator=generator).mul_(2).sub_(1).to(card.device)
        self.labels = torch.randint(CLASSES, (batch, *shape), generator=generator, dtype=torch.uint8).to(card.device)
        hits = torch.randperm(side**3, generator=generator)[: min(HIT_VOXELS, side**3 // 8)].sort().values
        target = torch.rand((len(hits), CLASSES), generator=generator)
        self.teacher = CollapsedTeacher(hits, target / target.sum(), 0.0, 1.0).to(card.device)
        self.adam = torch.optim.Adam(self.student.parameters(), 0.0)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.card.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def plain(self) -> Tensor:
        return plain_student(self.state, self.x, self.variant.depths, self.variant.heads)

    @torch.no_grad()
    def predict(self) -> Tensor:
        with self.autocast():
            return self.student.predict(self.x)

    @torch.no_grad()
    def plain_predict(self) -> Tensor:
        with self.autocast():
            return self.plain().argmax(1)

    def train(self) -> None:
        self._step(lambda: self.student.loss(self.x, self.labels))

    def plain_train(self) -> None:
        self._step(lambda: F.cross_entropy(self.plain().float(), self.labels.long()))

    def distill(self) -> None:
        self._step(self._distillation_loss)

    def _distillation_loss(self) -> Tensor:
        x, labels = self.x[:1], self.labels[:1]
        coarse = self.student.coarse(x)
        at_hits = self.student.logits_at(coarse, x, self.teacher.voxels)
        ce = self.student.cross_entropy(coarse, x, labels)
        return ce + collapsed_distillation(at_hits, self.teacher, TAU)

    def _step(self, loss_of: Callable[[], Tensor]) -> None:
        self.adam.zero_grad()
        with self.autocast():
            loss = loss_of()
        loss.backward()
        self.adam.step()


def assert_right(card: Card, variant: str, precision: str) -> None:
    """Coarse logits, loss and gradients on a block of 64^3 against float64 on the CPU."""
    case, exact = Case(card, variant, precision, 64, 1), Case(Card(torch.device("cpu")), variant, "fp32", 64, 1)
    exact.student.double().load_state_dict({k: v.cpu().double() for k, v in case.student.state_dict().items()})
    exact.x = exact.x.double()
    with case.autocast():
        loss = case.student.loss(case.x, case.labels)
    loss.backward()
    true_loss = exact.student.loss(exact.x, exact.labels)
    true_loss.backward()
    bound = TOLERANCE[precision]
    assert abs(loss.item() - true_loss.item()) <= bound * abs(true_loss.item()), (loss.item(), true_loss.item())
    ours = torch.cat([p.grad.flatten().cpu().double() for p in case.student.parameters()])
    true = torch.cat([p.grad.flatten() for p in exact.student.parameters()])
    error = ((ours - true).norm() / true.norm()).item()
    assert error <= bound, f"{variant} {precision}: the gradient is off by {error:.2g} of its length"


def rows_of(
    card: Card, variant: str, precision: str, options: argparse.Namespace, rates: dict[str, float]
) -> list[Row]:
    case = Case(card, variant, precision, options.size, options.batch)
    plain_s = card.median_s(case.plain_predict, options.repeats)
    plain_train_s = card.median_s(case.plain_train, options.repeats)
    operations = _operations(case.plain_predict)
    moved = case.x.numel() * 4 + case.labels.numel()
    rows = []
    for mode in ("eager", "compiled") if options.compile else ("eager",):
        if mode == "compiled":
            case.student.compile()
        name = f"{variant}_{precision}_{mode}"
        forward_s = card.median_s(case.predict, options.repeats)
        rows.append(Row(f"{name}_predict", forward_s, "s", f"plain student, {plain_s:.3g} s", plain_s / forward_s))
        matrix, memory = operations / forward_s / rates[precision], moved / forward_s / rates["bandwidth"]
        rows.append(Row(f"{name}_matrix_share", 100 * matrix, "%", "a large matrix product in the same run", None))
        rows.append(Row(f"{name}_bandwidth_share", 100 * memory, "%", "a large copy in the same run", None))
        peak: list[float] = []
        with card.peak_mb(peak):
            train_s = card.median_s(case.train, options.repeats)
        peer = f"plain student, {plain_train_s:.3g} s; peak {peak[0]:.0f} MB"
        rows.append(Row(f"{name}_train", train_s, "s", peer, plain_train_s / train_s))
        distill_s = card.median_s(case.distill, options.repeats)
        rows.append(Row(f"{name}_distill", distill_s, "s", "one room", None))
    return rows


def _operations(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def measure(options: argparse.Namespace) -> list[Row]:
    card = Card(torch.device(options.device))
    print(f"{card.describe()}; batch {options.batch} at {options.size}^3, medians of {options.repeats}")
    large = options.device == "cuda"
    rates = {"bandwidth": bandwidth(card, 2000 if large else 50, options.repeats)}
    rates |= {name: matrix_rate(card, name, 8192 if large else 512, options.repeats) for name in PRECISIONS}
    rows = [Row("copy", rates["bandwidth"] / 1e9, "GB/s", "", None)]
    rows += [Row(f"matmul_{name}", rates[name] / 1e12, "TFLOP/s", "", None) for name in PRECISIONS]
    for variant in options.variants.split(","):
        for precision in PRECISIONS:
            assert_right(card, variant, precision)
            rows += rows_of(card, variant, precision, options, rates)
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, help="voxels along a side; default: 128, on a CPU 64")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--variants", default="T,B,M,L")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="eager mode alone")
    options = parser.parse_args(arguments)
    options.size = options.size or (128 if options.device == "cuda" else 64)
    if options.quick:
        options.variants, options.batch, options.compile, options.repeats = "T", 1, False, 3
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu tries the script")
    return options


if __name__ == "__main__":
    chosen = parse()
    measured = measure(chosen)
    print_table(measured)
    if chosen.json:
        write_json(measured, chosen.json)
