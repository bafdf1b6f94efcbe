"""Times what distillation adds to training, each part beside a named peer in the same run.

python benchmarks/distill.py [--quick] [--json FILE]

The room is 6 x 5 x 3 m at 4 cm, the panorama 512 x 1024, K = 30 (--quick: fewer repeats, a panorama of half the
size for the map). The whole of the emission-absorption way is told from a part of one face. Ours and the peer give
the same numbers, which is asserted before the clock runs.
"""

from __future__ import annotations

import os
import statistics

if __name__ == "__main__":  # before numpy, torch and numba are imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from emission_absorption import MAX_DEPTH_M, composite
from table import Row, interleaved_medians, median_s, parse_arguments, print_table, seconds, write_json
from torch import Tensor
from torch.nn import functional as F

from roomseg.data.rooms import Room, network_input
from roomseg.geometry.cube import FACES, cube_face_hits, face_directions
from roomseg.geometry.equirect import directions, solid_angle_weights
from roomseg.geometry.projection import HitMap, panorama_hits
from roomseg.losses import CollapsedTeacher, collapse_teacher, collapsed_distillation
from roomseg.losses.projected import nearest_map, project
from roomseg.models.student import Student, build_student, pad_with_empty

VOXEL_M, TRUNCATION, MARGIN = 0.04, 5, 5
SIZE_M, CAMERA_M = (6.0, 5.0, 3.0), (2.9, 2.4, 1.5)
HEIGHT, CLASSES, TAU = 512, 30, 20.0
FACE, SAMPLES, STEPS = 256, 100, 100
FURNITURE_M = [  # lower and upper corners, class
    ([0.0, 0.3, 0.0], [1.9, 2.0, 0.5], 13),
    ([4.0, 4.3, 0.0], [5.8, 5.0, 1.9], 2),
    ([1.2, 3.6, 0.70], [2.6, 4.4, 0.78], 3),
    ([4.8, 0.2, 0.0], [5.8, 1.2, 0.9], 7),
]


@dataclass(frozen=True)
class Case:
    """A room, a viewpoint, and a teacher's and a student's answers drawn at random."""

    room: Room
    camera_voxel: np.ndarray
    hits: HitMap
    coarse: Tensor  # (K, H / 16, H / 8), the teacher's
    student: Tensor  # (N, K) logits of every voxel, a leaf
    weights: Tensor  # (H, 2H)


def make_room(size_m: tuple[float, ...], voxel_m: float) -> Room:
    """A box with boxes in it, from their exact distances."""
    shape = np.rint(np.array(size_m) / voxel_m).astype(int) + 1 + 2 * MARGIN
    points = ((np.stack(np.indices(shape), axis=-1) - MARGIN) * voxel_m).astype(np.float32)
    distance, label = -_distance_to_box(points, [0.0, 0.0, 0.0], size_m), np.full(shape, 17, np.uint8)
    for low, high, name in FURNITURE_M:
        to_box = _distance_to_box(points, low, high)
        label[to_box < distance] = name
        distance = np.minimum(distance, to_box)
    tsdf = distance / (TRUNCATION * voxel_m)
    tsdf = np.rint(127 * np.where(tsdf < -1, 1, np.clip(tsdf, -1, 1))).astype(np.int8)
    full = tsdf < 127
    rgb = np.random.default_rng(0).integers(60, 230, (*shape, 3)).astype(np.uint8) * full[..., None]
    origin_m = np.full(3, -MARGIN * voxel_m)
    return Room("benchmark", "benchmark", "train", origin_m, voxel_m, tsdf, rgb, label * full)


def _distance_to_box(points: np.ndarray, low: list[float], high: tuple[float, ...] | list[float]) -> np.ndarray:
    q = np.maximum(np.array(low, np.float32) - points, points - np.array(high, np.float32))
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)


def make_case(height: int = HEIGHT, classes: int = CLASSES, voxel_m: float = VOXEL_M) -> Case:
    room, rng = make_room(SIZE_M, voxel_m), torch.Generator().manual_seed(0)
    camera_voxel = (np.array(CAMERA_M) - room.origin_m) / voxel_m
    coarse = 4 * torch.randn(classes, height // 16, height // 8, generator=rng)
    student = torch.randn(room.tsdf.size, classes, generator=rng).requires_grad_()
    weights = torch.from_numpy(solid_angle_weights(height))[:, None].expand(height, 2 * height)
    return Case(room, camera_voxel, panorama_hits(room.tsdf, camera_voxel, height), coarse, student, weights)


# The map


def torch_march(tsdf: Tensor, camera_voxel: np.ndarray, rays: Tensor, step: float) -> Tensor:  # (H, 2H) voxels
    """The first of STEPS evenly spaced samples of a ray that is behind a surface."""
    size, camera = torch.tensor(tsdf.shape) - 1, torch.tensor(camera_voxel, dtype=torch.float32)
    depth = torch.full(rays.shape[:2], torch.inf)
    for n in range(1, STEPS + 1):
        grid = (2 * (camera + n * step * rays) / size - 1).flip(-1)[None, None]  # (1, 1, H, 2H, 3), z y x
        value = F.grid_sample(tsdf[None, None], grid, padding_mode="border", align_corners=True)
        depth = torch.where((value[0, 0, 0] < 0) & torch.isinf(depth), n * step, depth)
    return depth


def check_march(hits: HitMap, depth: Tensor, step: float) -> None:
    """The march stops at the first sample behind our hit, but where it steps over something thin."""
    behind = depth.numpy() - hits.depth_voxels
    assert hits.hit_rate > 0.99, f"{hits.hit_rate:.1%} of the rays hit something"
    share = ((behind > -0.02) & (behind < step + 0.02)).mean()
    assert share > 0.97, f"the march and the map agree on {share:.1%} of the rays"


def bench_map(room: Room, camera_voxel: np.ndarray, height: int, repeats: int) -> Row:
    field, rays = torch.from_numpy(room.tsdf).float() / 127, torch.from_numpy(directions(height))
    step = MAX_DEPTH_M / STEPS / room.voxel_m

    def march() -> Tensor:
        return torch_march(field, camera_voxel, rays, step)

    check_march(panorama_hits(room.tsdf, camera_voxel, height), march(), step)
    ours, theirs = interleaved_medians(lambda: panorama_hits(room.tsdf, camera_voxel, height), march, repeats)
    peer = f"torch grid_sample march, {STEPS} steps, {height}x{2 * height}, {1e3 * theirs:.0f} ms"
    return Row("map_vs_grid_sample", 1e3 * ours, "ms", peer, theirs / ours)


# Projection and KL, forward and backward

LossAndGradient = tuple[Tensor, Tensor]


def our_kl(student: Tensor, collapsed: CollapsedTeacher) -> LossAndGradient:
    """One term a voxel; the gradient is of the hit voxels' rows (V, K), all others have none."""
    rows = student.detach().index_select(0, collapsed.voxels).requires_grad_()
    loss = collapsed_distillation(rows, collapsed, TAU)
    return loss, torch.autograd.grad(loss, rows)[0]


@dataclass(frozen=True)
class CachedPixels:
    """What the peer keeps from one iteration to the next."""

    voxel: Tensor  # (P,) int64
    teacher: Tensor  # (P, K) shares
    log_teacher: Tensor  # (P, K)
    weights: Tensor  # (P,), summing to 1


def cache_pixels(case: Case) -> CachedPixels:
    hit = torch.from_numpy(case.hits.voxel)
    seen = hit >= 0
    pixels = F.interpolate(case.coarse[None], size=hit.shape, mode="bilinear", align_corners=False)[0][:, seen].T
    log_teacher = F.log_softmax(pixels / TAU, dim=1).contiguous()
    weights = case.weights[seen]
    return CachedPixels(hit[seen].long(), log_teacher.exp(), log_teacher, weights / weights.sum())


def pixel_kl(student: Tensor, cached: CachedPixels) -> LossAndGradient:
    """The peer: each pixel's voxel by index_select, then the divergence of each pixel."""
    log_student = F.log_softmax(student.index_select(0, cached.voxel) / TAU, dim=1)
    divergence = (cached.teacher * (cached.log_teacher - log_student)).sum(1)
    loss = TAU**2 * (cached.weights * divergence).sum()
    return loss, torch.autograd.grad(loss, student)[0]


def check_kl(ours: LossAndGradient, theirs: LossAndGradient, voxels: Tensor) -> None:
    torch.testing.assert_close(ours[0], theirs[0], rtol=2e-3, atol=1e-3)
    torch.testing.assert_close(torch.zeros_like(theirs[1]).index_copy_(0, voxels, ours[1]), theirs[1])


def bench_kl(case: Case, repeats: int) -> Row:
    hit = torch.from_numpy(case.hits.voxel)
    collapsed, cached = collapse_teacher(case.coarse, hit, TAU, case.weights), cache_pixels(case)
    check_kl(our_kl(case.student, collapsed), pixel_kl(case.student, cached), collapsed.voxels)
    ours, theirs = interleaved_medians(
        lambda: our_kl(case.student, collapsed), lambda: pixel_kl(case.student, cached), repeats
    )
    peer = f"cached index_select + KL of {len(cached.voxel)} pixels, {1e3 * theirs:.0f} ms"
    return Row("kl_vs_index_select", 1e3 * ours, "ms", peer, theirs / ours)


def emission_absorption_kl(
    case: Case, volume: Tensor, density: Tensor, face: str, rows: slice
) -> tuple[Tensor, LossAndGradient]:
    """The published way for some rows of a face: composite, then the divergence from a teacher's picture of it."""
    rays = torch.from_numpy(face_directions(face, FACE)[rows])
    image = composite(volume, density, case.camera_voxel, rays, SAMPLES, case.room.voxel_m)  # (R, FACE, K)
    teacher = F.softmax(torch.zeros_like(image) / TAU, dim=-1)
    loss = TAU**2 * F.kl_div(F.log_softmax(image / TAU, dim=-1), teacher, reduction="sum") / (6 * FACE**2)
    return image.detach(), (loss.detach(), torch.autograd.grad(loss, volume)[0])


def check_composite(case: Case, image: Tensor, student: Tensor, face: str, rows: slice) -> None:
    """In most pixels the composite's first class is that of the voxel which our map finds."""
    pixel_map = nearest_map(torch.from_numpy(cube_face_hits(case.room.tsdf, case.camera_voxel, face, FACE).voxel))
    ours = project(student[pixel_map.voxels], pixel_map)[rows]
    share = float((ours.argmax(-1) == image.argmax(-1)).float().mean())
    assert share > 0.9, f"composite and projection agree on {share:.1%} of the pixels"


def bench_emission_absorption(case: Case, rows: int, repeats: int) -> Row:
    """The whole from a band of ``rows`` rows of a face and from one row: a face costs something, and each row of it."""
    volume = label_logits(case).requires_grad_()
    density = torch.from_numpy(case.room.tsdf).float() / 127
    face, first = next(iter(FACES)), FACE // 2

    def peer(rows: int) -> tuple[Tensor, LossAndGradient]:
        return emission_absorption_kl(case, volume, density, face, slice(first, first + rows))

    check_composite(case, peer(rows)[0], volume.detach().flatten(1).T, face, slice(first, first + rows))
    collapsed = collapse_teacher(case.coarse, torch.from_numpy(case.hits.voxel), TAU, case.weights)
    ours, band = interleaved_medians(lambda: our_kl(case.student, collapsed), lambda: peer(rows), repeats)
    one = median_s(lambda: peer(1), repeats)
    whole = len(FACES) * (one + (FACE - 1) * (band - one) / (rows - 1))
    what = f"emission-absorption, {SAMPLES} samples, six {FACE}x{FACE} faces, {whole:.1f} s by {rows} rows of one"
    return Row("kl_vs_emission_absorption", 1e3 * ours, "ms", what, whole / ours)


def label_logits(case: Case) -> Tensor:  # (K, X, Y, Z)
    """Logits of 5 for a voxel's own label: smooth enough to be composited."""
    label = torch.from_numpy(case.room.label.astype(np.int64))
    return 5 * F.one_hot(label, case.student.shape[1]).permute(3, 0, 1, 2).float()


# A whole iteration of the student


class Iteration:
    """Steps of variant T on one room, with cross entropy alone or with distillation too, batch making included."""

    def __init__(self, case: Case, distil: bool) -> None:
        self.case, self.distil = case, distil
        self.model: Student = build_student("T", classes=case.student.shape[1], seed=0).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)

    def __call__(self) -> tuple[float, float]:
        """The cross entropy and the distillation loss of this step."""
        torch.manual_seed(0)
        room, hit = self.case.room, torch.from_numpy(self.case.hits.voxel)
        volume = torch.from_numpy(network_input(room))[None]
        labels = torch.from_numpy(room.label.astype(np.uint8))[None]
        coarse = self.model.coarse(pad_with_empty(volume))
        ce = self.model.cross_entropy(coarse, volume, labels)
        kd = torch.zeros(())
        if self.distil:
            teacher = collapse_teacher(self.case.coarse, hit, TAU, self.case.weights)
            kd = collapsed_distillation(self.model.logits_at(coarse, volume, teacher.voxels), teacher, TAU)
        self.optimizer.zero_grad()
        (ce + kd).backward()
        self.optimizer.step()
        return ce.item(), kd.item()


def bench_iteration(case: Case, repeats: int) -> Row:
    ours, peer = Iteration(case, distil=True), Iteration(case, distil=False)
    first, alone = ours(), peer()
    assert abs(first[0] - alone[0]) < 1e-5 * alone[0], "both start from the same cross entropy"
    assert first[1] > 0
    turns = [(seconds(ours), seconds(peer)) for _ in range(repeats)]  # both ran once already
    ours_s, theirs_s = (statistics.median(times) for times in zip(*turns, strict=True))
    what = f"CE-only iteration, {theirs_s:.2f} s: {ours_s / theirs_s:.2f} times that"
    return Row("iteration_vs_ce_only", ours_s, "s", what, theirs_s / ours_s)


def measure(quick: bool) -> list[Row]:
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    case = make_case()
    parts: list[Callable[[], Row]] = [
        lambda: bench_map(case.room, case.camera_voxel, HEIGHT // 2 if quick else HEIGHT, 5),
        lambda: bench_kl(case, 3 if quick else 15),
        lambda: bench_emission_absorption(case, 16 if quick else 64, 1 if quick else 3),
        lambda: bench_iteration(case, 1 if quick else 5),
    ]
    return [part() for part in parts]


def main() -> None:
    arguments = parse_arguments(__doc__)
    rows = measure(arguments.quick)
    threads, malloc = os.environ["OMP_NUM_THREADS"], os.environ.get("MALLOC_MMAP_THRESHOLD_", "default")
    print(
        f"{threads} thread(s); MALLOC_MMAP_THRESHOLD_: {malloc}; medians, in turns; ratio = time of the peer / ours\n"
    )
    print_table(rows)
    if arguments.json:
        write_json(rows, arguments.json)


if __name__ == "__main__":
    main()
