from __future__ import annotations

import numpy as np
import torch

from roomseg.data.rooms import Room, network_input
from roomseg.models.networks import build_network
from roomseg.models.student import Student
from roomseg.stages.predicting.points import REACH_VOXELS, Labeller

SHAPE = (30, 26, 20)


def made_room(seed: int = 0) -> Room:
    """A wavy floor: + above, - below, empty away from it."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    distance = (z - 8 - 2 * np.sin(x / 5) - np.cos(y / 4)) / 5
    tsdf = np.where(np.abs(distance) < 1, np.rint(127 * distance), 127).astype(np.int8)
    rgb = np.where((tsdf < 127)[..., None], rng.integers(0, 256, (*SHAPE, 3)), 0).astype(np.uint8)
    return Room("r", "h", "test", np.zeros(3), 0.04, tsdf, rgb, np.zeros(SHAPE, np.uint8))


def student() -> Student:
    network = build_network("T", 30, seed=3).eval()
    assert isinstance(network, Student)
    with torch.no_grad():
        network.output.weight.mul_(6)  # opinions that differ from place to place
    return network


def dense_probability(network: Student, room: Room) -> np.ndarray:  # (K, X, Y, Z)
    """The softmax of the whole volume's logits without void."""
    with torch.no_grad():
        logits = network(torch.from_numpy(network_input(room))[None])[0].double()
    logits[0] = -torch.inf
    return logits.softmax(dim=0).numpy()


def reference(probability: np.ndarray, room: Room, place: np.ndarray) -> tuple[int, float]:
    """Their weighted mean over the corners of the cell that are not empty."""
    low, total, weights = np.floor(place).astype(int), np.zeros(30), 0.0
    for corner in np.ndindex(2, 2, 2):
        at = low + corner
        if (at < 0).any() or (at >= SHAPE).any() or room.tsdf[tuple(at)] == 127:
            continue
        weight = np.prod([p if c else 1 - p for c, p in zip(corner, place - low, strict=True)]) + 1e-4
        total += weight * probability[(slice(None), *at)]
        weights += weight
    return int(total.argmax()), float(total.max() / weights)


def test_points_get_the_mean_of_their_voxels_without_void() -> None:
    room, network, rng = made_room(), student(), np.random.default_rng(1)
    x, y = rng.uniform(0, 29, 60), rng.uniform(0, 25, 60)
    places = np.stack([x, y, 8 + 2 * np.sin(x / 5) + np.cos(y / 4) + rng.normal(0, 0.5, 60)], axis=1)
    found = Labeller(network, network_input(room), room.tsdf).at(places)
    probability = dense_probability(network, room)
    expected = [reference(probability, room, place) for place in places]
    assert found.confidence is not None
    np.testing.assert_array_equal(found.label, [label for label, _ in expected])
    np.testing.assert_allclose(found.confidence, [share for _, share in expected], atol=1e-4)
    assert len(np.unique(found.label)) > 1
    assert (found.label > 0).all()


def test_a_point_beside_what_was_seen_takes_the_nearest_and_one_far_away_is_void() -> None:
    room, network = made_room(), student()
    top = int(np.flatnonzero(room.tsdf[10, 10] < 127).max())
    places = np.array(
        [[10, 10, top + 3.0], [10, 10, top + 2 * REACH_VOXELS], [np.nan, 1, 1], [-400, 3, 3], [10, 10, top]]
    )
    found = Labeller(network, network_input(room), room.tsdf).at(places)
    assert found.confidence is not None
    assert found.label[0] > 0
    np.testing.assert_array_equal(found.label[1:4], 0)
    np.testing.assert_array_equal(found.confidence[1:4], 0)
    assert found.label[4] > 0


def test_voxels_are_what_the_network_predicts() -> None:
    room, network = made_room(), student()
    volume = network_input(room)
    expected = network.predict(torch.from_numpy(volume)[None])[0].numpy()
    np.testing.assert_array_equal(Labeller(network, volume, room.tsdf).voxels, expected)


def test_a_baseline_gives_classes_without_confidence() -> None:
    room, network = made_room(), build_network("sparse_unet", 30, seed=0).eval()
    labeller = Labeller(network, network_input(room), room.tsdf)
    places = np.argwhere(room.tsdf < 127)[::37].astype(float)
    found = labeller.at(places)
    assert found.confidence is None
    np.testing.assert_array_equal(found.label, labeller.voxels[tuple(places.astype(int).T)])


def test_an_empty_volume_leaves_all_points_void() -> None:
    tsdf = np.full(SHAPE, 127, np.int8)
    room = Room("r", "h", "test", np.zeros(3), 0.04, tsdf, np.zeros((*SHAPE, 3), np.uint8), np.zeros(SHAPE, np.uint8))
    found = Labeller(student(), network_input(room), tsdf).at(np.ones((3, 3)))
    np.testing.assert_array_equal(found.label, 0)
