"""A distillation step by step: are voxels, pixels and the teacher's word still together after all that moves them?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from roomseg.data.dataset import open_rooms
from roomseg.data.rooms import TSDF_STEPS, Room
from roomseg.geometry.equirect import solid_angle_weights
from roomseg.geometry.projection import panorama_hits
from roomseg.geometry.symmetries import Symmetry
from roomseg.losses import collapse_teacher, dense_distillation, lovasz_softmax
from roomseg.models.student import build_student
from roomseg.models.teacher import build_teacher
from roomseg.runtime.progress import open_progress
from roomseg.stages.distillation import task as task_module
from roomseg.stages.distillation.features import SeenCells, join_cells, seen_cells
from roomseg.stages.distillation.judging import camera_voxel
from roomseg.stages.distillation.student import DistilledStudent
from roomseg.stages.distillation.task import DistillTask, augmented
from roomseg.stages.distillation.views import RoomViews, TeacherOf
from roomseg.stages.networks import load_student, room_tensor
from roomseg.stages.teacher import panorama_tensor
from tests.geometry.test_symmetries import ALL
from tests.stages.distilling import HEIGHT, SIZES, Bench, bench, configured, furnished

SETTINGS = ("views=2", "void_weight=0.3")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench(tmp_path_factory.mktemp("bench"), [furnished(0, views=2), furnished(1, views=2), furnished(6, "val")])


def make_task(small: Bench, *settings: str) -> DistillTask:
    config = configured(*SETTINGS, *settings)
    train, val = open_rooms(small.inputs["rooms"], "train"), open_rooms(small.inputs["rooms"], "val")
    views = RoomViews(train, TeacherOf(small.inputs["teacher"]), small.context().cache, config)
    usable, _ = views.prepare(open_progress())
    width = 128 if config.feature_weight else None
    student = load_student(small.inputs["pretrained"])
    return DistillTask(DistilledStudent(student, width, config.ema_decay, 0), train, val, views, usable, config)


def pixel_logits(room: Room, view: int) -> torch.Tensor:  # (K, H, 2H)
    """The teacher itself, as the paper has it: run on the panorama, resized to the pixels."""
    teacher = build_teacher("micro", 30, "linear", (HEIGHT, 2 * HEIGHT), seed=0).eval()
    with torch.no_grad():
        coarse = teacher.coarse_logits(panorama_tensor(room.panoramas[view])).half().float()
        return F.interpolate(coarse, size=(HEIGHT, 2 * HEIGHT), mode="bilinear", align_corners=False)[0]


def test_the_loss_is_the_papers(small: Bench) -> None:
    task = make_task(small, "views=1", "tau=4", "weight=0.7", "solid_angle=true")
    batch = task.batch(0)
    total, figures = task.loss(batch)
    room = next(room for room in task.train if room.id == batch.room_id)
    logits = task.model.student(room_tensor(room))  # (1, K, X, Y, Z): the volume that training never makes
    class_weight = torch.ones(30)
    class_weight[0] = 0.3
    ce = F.cross_entropy(logits, torch.from_numpy(room.label)[None].long(), class_weight)
    voxel = panorama_hits(room.tsdf, camera_voxel(room, room.panoramas[0]), HEIGHT).voxel
    seen = torch.from_numpy(voxel.reshape(-1)).long()
    weights = torch.from_numpy(solid_angle_weights(HEIGHT).repeat(2 * HEIGHT)) * (seen >= 0)
    of_pixels = pixel_logits(room, 0).flatten(1).T
    kd = dense_distillation(logits[0].flatten(1).T[seen.clamp(min=0)], of_pixels, 4.0, weights)
    assert figures == {"ce": pytest.approx(ce.item(), rel=1e-4), "kd": pytest.approx(kd.item(), rel=1e-3)}
    assert total.item() == pytest.approx((ce + 0.7 * kd).item(), rel=1e-4)


@pytest.mark.parametrize("symmetry", ALL)
def test_room_and_panorama_move_together(small: Bench, symmetry: Symmetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the teacher's pixels rolled like a panorama, and hits that are cast anew in the moved room."""
    task = make_task(small, "views=1")
    place = task.usable[task._order(0)].place
    room = task.train[place]

    def move(room: Room, config: Any, rng: np.random.Generator) -> tuple[Room, Symmetry]:
        moved, _ = augmented(room, config, rng)
        tsdf, rgb, label = (np.ascontiguousarray(symmetry.volume(p)) for p in (room.tsdf, room.rgb, room.label))
        return task_module.replace(moved, tsdf=tsdf, rgb=rgb, label=label), symmetry

    monkeypatch.setattr(task_module, "augmented", move)
    batch = task.batch(0)
    assert batch.teacher is not None
    tsdf = np.ascontiguousarray(symmetry.volume(room.tsdf))
    camera = symmetry.point(camera_voxel(room, room.panoramas[0]), room.shape)
    cast = panorama_hits(tsdf, camera, HEIGHT).voxel
    rolled = symmetry.panorama(np.moveaxis(pixel_logits(room, 0).numpy(), 0, -1))
    logits = torch.from_numpy(np.moveaxis(rolled, -1, 0).copy())
    expected = collapse_teacher(logits, torch.from_numpy(cast), task.config.tau, torch.ones(HEIGHT, 2 * HEIGHT))
    ours, theirs = (dense_target(t, room.tsdf.size) for t in (batch.teacher, expected))
    assert (ours - theirs).abs().sum() < 0.01  # of 1: a few rays that graze an edge
    labels = batch.labels.flatten()[batch.teacher.voxels]
    seen = symmetry.places(np.unique(task.views.read(place, 0).voxel), room.shape)
    assert torch.equal(labels, batch.labels.flatten()[torch.from_numpy(np.sort(seen[seen >= 0])).long()])


def dense_target(teacher: Any, voxels: int) -> torch.Tensor:  # (voxels, K)
    dense = torch.zeros(voxels, teacher.target.shape[1])
    dense[teacher.voxels] = teacher.target
    return dense


def test_augmentation_moves_all_planes_alike_and_leaves_empty_alone() -> None:
    room, config = furnished(0), configured('augment=["yaw","flip","colour"]')
    drawn = set()
    for seed in range(30):
        moved, symmetry = augmented(room, config, np.random.default_rng(seed))
        drawn.add(symmetry)
        np.testing.assert_array_equal(moved.tsdf, symmetry.volume(room.tsdf))
        np.testing.assert_array_equal(moved.label, symmetry.volume(room.label))
        assert not moved.rgb[moved.tsdf == TSDF_STEPS].any()
    assert drawn == set(ALL)
    full = room.tsdf < TSDF_STEPS
    lit = [augmented(room, configured('augment=["colour"]'), np.random.default_rng(n))[0].rgb for n in range(8)]
    assert any((rgb[full] != room.rgb[full]).any() for rgb in lit)
    same, symmetry = augmented(room, configured(), np.random.default_rng(0))
    assert symmetry == Symmetry()
    assert all((getattr(same, name) == getattr(room, name)).all() for name in ("tsdf", "rgb", "label"))


def test_several_views_are_their_mean(small: Bench) -> None:
    one, both = make_task(small, "views_per_step=1"), make_task(small, "views_per_step=2")
    place = both.usable[both._order(0)].place
    merged = both.batch(0).teacher
    parts = [both._collapsed(both.views.read(place, number)) for number in (0, 1)]
    assert merged is not None
    expected = sum(dense_target(part, int(np.prod(SIZES))) * part.weight for part in parts)
    expected = expected / sum(part.weight for part in parts)
    torch.testing.assert_close(dense_target(merged, int(np.prod(SIZES))), expected)
    drawn = {tuple(one.batch(step).teacher.voxels.tolist()) for step in range(12)}
    assert len(drawn) == 4  # two rooms from two viewpoints each


def test_batches_depend_on_the_step_alone(small: Bench) -> None:
    settings = ("views_per_step=1", 'augment=["yaw","flip","colour"]')
    first, again = (make_task(small, *settings).batch(3) for _ in range(2))
    assert first.room_id == again.room_id
    assert torch.equal(first.volume, again.volume)
    assert torch.equal(first.teacher.target, again.teacher.target)


def test_losses_near_surfaces(small: Bench) -> None:
    task = make_task(small, "band_weight=0.4", "lovasz_weight=0.3", "band_voxels=1.5", "weight=0")
    batch = task.batch(0)
    total, figures = task.loss(batch)
    room = next(room for room in task.train if room.id == batch.room_id)
    logits = task.model.student(room_tensor(room))[0].flatten(1).T  # (voxels, K)
    tsdf = room.tsdf.reshape(-1).astype(float)
    near = torch.from_numpy((tsdf < 127) & (np.abs(tsdf) / 127 * 5 <= 1.5))
    truth = torch.from_numpy(room.label.reshape(-1).astype(np.int64))[near]
    band_ce, lovasz = F.cross_entropy(logits[near], truth), lovasz_softmax(logits[near], truth)
    assert 1000 < len(truth) < len(tsdf) / 2
    assert figures["band_ce"] == pytest.approx(band_ce.item(), rel=1e-4)
    assert figures["lovasz"] == pytest.approx(lovasz.item(), rel=1e-4)
    assert total.item() == pytest.approx(figures["ce"] + 0.4 * band_ce.item() + 0.3 * lovasz.item(), rel=1e-4)


def test_tokens_of_cells_by_loops() -> None:
    rng = np.random.default_rng(0)
    sizes, grid = (20, 17, 9), (8, 8, 8)
    tokens = rng.normal(size=(3, 2, 4))
    hit = rng.integers(-1, np.prod(sizes), (8, 16)).astype(np.int32)
    weights = rng.random((8, 16)).astype(np.float32)
    sums: dict[int, np.ndarray] = {}
    for row, column in np.ndindex(8, 16):
        if hit[row, column] >= 0:
            x, y, z = (axis // 8 for axis in np.unravel_index(hit[row, column], sizes))
            token = np.append(tokens[:, row // 4, column // 4], 1) * weights[row, column]
            cell = int((x * 8 + y) * 8 + z)
            sums[cell] = sums.get(cell, 0) + token
    arrays = (torch.from_numpy(a) for a in (tokens, hit, weights))
    ours = seen_cells(*arrays, sizes, grid)
    assert ours.cells.tolist() == sorted(sums)
    expected = np.stack([sums[cell] for cell in sorted(sums)])
    np.testing.assert_allclose(ours.weight, expected[:, 3], rtol=1e-5)
    np.testing.assert_allclose(ours.target, expected[:, :3] / expected[:, 3:], rtol=1e-4, atol=1e-6)


def test_cells_of_two_views_by_hand() -> None:
    one = SeenCells(torch.tensor([2, 5]), torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 3.0]))
    two = SeenCells(torch.tensor([5, 7]), torch.tensor([[4.0], [9.0]]), torch.tensor([1.0, 0.5]))
    both = join_cells([one, two])
    assert both.cells.tolist() == [2, 5, 7]
    assert both.target.flatten().tolist() == [1.0, 2.5, 9.0]
    assert both.weight.tolist() == [1.0, 4.0, 0.5]


def test_the_feature_head_learns_and_is_not_kept(small: Bench) -> None:
    task = make_task(small, "feature_weight=1", "weight=0", "views=1")
    model = task.model
    batch = task.batch(0)
    loss, figures = task.loss(batch)
    loss.backward()
    assert 0 < figures["feature"] < 2
    assert model.feature_head.weight.grad.abs().max() > 0
    assert set(model.kept(model.state_dict())) == set(model.student.state_dict())
    teacher = build_teacher("micro", 30, "linear", (HEIGHT, 2 * HEIGHT), seed=0).eval()
    room = next(room for room in task.train if room.id == batch.room_id)
    with torch.no_grad():
        tokens = teacher.features(panorama_tensor(room.panoramas[0]))[0].half().float()
    hit = panorama_hits(room.tsdf, camera_voxel(room, room.panoramas[0]), HEIGHT).voxel >= 0
    of_pixels = tokens.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, torch.from_numpy(hit)]
    assert batch.features.weight.sum() == hit.sum()
    summed = (batch.features.target * batch.features.weight[:, None]).sum(0)
    torch.testing.assert_close(summed, of_pixels.sum(1), rtol=1e-3, atol=1.0)


def test_the_average_follows_the_weights() -> None:
    model = DistilledStudent(build_student("T", seed=1), None, ema_decay=0.75, seed=0)
    optimizer = torch.optim.SGD(model.student.parameters(), lr=0.1)
    model.follow(optimizer)
    expected = {name: value.clone() for name, value in model.student.state_dict().items()}
    for step in range(3):
        for parameter in model.student.parameters():
            parameter.grad = torch.full_like(parameter, float(step + 1))
        optimizer.step()
        for name, value in model.student.state_dict().items():
            expected[name] = 0.75 * expected[name] + 0.25 * value
    kept = model.kept(model.state_dict())
    assert model.scored is model.average
    assert kept.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(kept[name], value)
    assert not any(parameter.requires_grad for parameter in model.average.parameters())
