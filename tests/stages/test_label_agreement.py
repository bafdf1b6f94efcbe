"""What a panorama shows and what its rays hit in the volume have the same label, but along the edges of things."""

from __future__ import annotations

import numpy as np
import pytest

from roomseg.data.rooms import Room
from roomseg.geometry.projection import check_camera, panorama_hits
from roomseg.stages.rendering.rooms import make_room
from roomseg.stages.sources import open_source
from tests.stages.rendered import configured

SIZE = ["room_size_m=[2.8,3.4]", "frames_per_room=60", "panorama_height=128", "panoramas_per_room=1", "train_rooms=3"]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> list[Room]:
    no_libraries = tmp_path_factory.mktemp("furniture")
    config = configured(*SIZE, f"furniture_dir={no_libraries}")
    source = open_source(config)
    return [make_room(config, source.load(key), key) for key in source.plan()[0] if key.split == "train"]


def on_edge(label: np.ndarray, pixels: int) -> np.ndarray:  # (H, 2H) bool
    """Pixels at most so many king's moves from a pixel with another label; left and right are neighbours."""
    edge = (label != np.roll(label, 1, axis=1)) | (label != np.roll(label, -1, axis=1))
    edge[1:] |= label[1:] != label[:-1]
    edge[:-1] |= label[1:] != label[:-1]
    for _ in range(pixels):
        edge = edge | np.roll(edge, 1, axis=1) | np.roll(edge, -1, axis=1)
        above, below = edge[:-1].copy(), edge[1:].copy()
        edge[1:] |= above
        edge[:-1] |= below
    return edge


def test_labels_seen_through_the_map_are_the_panorama_s(rooms: list[Room]) -> None:
    hit, differing, near_edge = 0, 0, 0
    for room in rooms:
        panorama = room.panoramas[0]
        camera_voxel = (panorama.camera_m - room.origin_m) / room.voxel_m
        check_camera(room.tsdf, camera_voxel)
        hits = panorama_hits(room.tsdf, camera_voxel, len(panorama.label))
        assert hits.hit_rate > 0.99
        differs = (hits.voxel >= 0) & (room.label.ravel()[hits.voxel] != panorama.label)
        hit, differing = hit + (hits.voxel >= 0).sum(), differing + differs.sum()
        near_edge += (differs & on_edge(panorama.label, 2)).sum()
    assert differing / hit < 0.03
    assert near_edge / differing > 0.9


def test_on_edge_by_hand() -> None:
    label = np.zeros((4, 8), np.uint8)
    label[1, 7] = 5
    assert np.argwhere(on_edge(label, 0)).tolist() == [[0, 7], [1, 0], [1, 6], [1, 7], [2, 7]]
    assert on_edge(label, 1)[3].tolist() == [True] + 5 * [False] + 2 * [True]
