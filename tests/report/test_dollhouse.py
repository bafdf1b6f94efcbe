from __future__ import annotations

import numpy as np
import pytest

from roomseg.labels import PANOROOMS3D
from roomseg.report.content import RoomPicture
from roomseg.report.dollhouse import NOTHING, SKIN, SURFACE, Camera, best_camera, paint, trace
from roomseg.report.pictures import (
    RIGHT,
    UNJUDGED,
    WRONG,
    colorize,
    error_colors,
    furniture_of,
    over,
    room_views,
)
from tests.report.synthetic import FURNITURE, MARGIN_VOXELS, SIZE_M, VOXEL_M, synthetic_room

TOP = Camera(azimuth_deg=-90, elevation_deg=90)
SIZE = (300, 360)


@pytest.fixture(scope="module")
def room() -> RoomPicture:
    return synthetic_room()


def dollhouse(
    tsdf: np.ndarray,  # (X, Y, Z) int8
    color: np.ndarray,  # (X, Y, Z, 3) uint8
    furniture: np.ndarray | None = None,  # (X, Y, Z) bool
    camera: Camera | None = None,
    size: tuple[int, int] = SIZE,
    background: tuple[int, int, int] = (255, 255, 255),
) -> np.ndarray:  # (h, w, 3) uint8
    """Traced, painted and laid over the background."""
    furniture = np.zeros(tsdf.shape, bool) if furniture is None else furniture
    return over(paint(trace(tsdf, furniture, camera or Camera(), size), tsdf, color, blend=False), background)


def nearest_class(color: np.ndarray) -> int:
    """The class whose colour, at any brightness, is nearest in direction."""
    palette = np.array(PANOROOMS3D.colors, float)[1:]
    palette /= np.linalg.norm(palette, axis=1, keepdims=True)
    return 1 + int(np.argmax(palette @ color.astype(float)))


def pixel_on_map(traced_point: np.ndarray, x_m: float, y_m: float) -> tuple[int, int]:
    """The sub-pixel of a map whose surface point lies nearest a place in the room."""
    wanted = np.array([x_m, y_m]) / VOXEL_M + MARGIN_VOXELS
    gap = np.linalg.norm(traced_point[..., :2] - wanted, axis=-1)
    row, column = np.unravel_index(np.argmin(gap), gap.shape)
    assert gap[row, column] < 1
    return int(row), int(column)


def test_map_shows_each_thing_in_its_colour_at_its_place(room: RoomPicture) -> None:
    traced = trace(room.tsdf, furniture_of(room.truth, PANOROOMS3D), TOP, SIZE)
    picture = dollhouse(room.tsdf, colorize(room.truth, PANOROOMS3D), camera=TOP, size=SIZE)
    for box in FURNITURE:
        x, y = (np.array(box.low_m) + box.high_m)[:2] / 2
        row, column = pixel_on_map(traced.point, x, y)
        assert traced.kind[row, column] == SURFACE
        assert abs(traced.point[row, column, 2] - (box.high_m[2] / VOXEL_M + MARGIN_VOXELS)) < 0.2, box.label
        assert nearest_class(picture[row // 2, column // 2]) == PANOROOMS3D.id(box.label)
    row, column = pixel_on_map(traced.point, 3.2, 0.3)
    assert nearest_class(picture[row // 2, column // 2]) == PANOROOMS3D.id("floor")


def test_map_has_x_to_the_right_and_y_up(room: RoomPicture) -> None:
    point = trace(room.tsdf, furniture_of(room.truth, PANOROOMS3D), TOP, SIZE).point
    bed_row, bed_column = pixel_on_map(point, 1.1, 1.2)
    table_row, table_column = pixel_on_map(point, 2.8, 2.8)
    assert bed_column < table_column
    assert bed_row > table_row


def test_near_walls_and_ceiling_are_open_and_far_walls_are_drawn(room: RoomPicture) -> None:
    traced = trace(room.tsdf, furniture_of(room.truth, PANOROOMS3D), Camera(azimuth_deg=-60, elevation_deg=35), SIZE)
    metres = (traced.point[traced.kind == SURFACE] - MARGIN_VOXELS) * VOXEL_M
    on_wall = (metres[:, 2] > 0.3) & (metres[:, 2] < SIZE_M[2] - 0.1)
    beside_wardrobe = metres[:, 1] > 2.2
    near = (metres[:, 0] > SIZE_M[0] - 0.02) & beside_wardrobe | (metres[:, 1] < 0.02)  # the viewer is at +X, -Y
    far = (metres[:, 0] < 0.02) | (metres[:, 1] > SIZE_M[1] - 0.02)
    assert (on_wall & far).sum() > 1000
    assert (on_wall & near & ~far).sum() == 0
    assert ((metres[:, 2] > SIZE_M[2] - 0.02) & ~far).sum() == 0


def test_skin_is_a_rim_around_the_room_and_nothing_lies_outside(room: RoomPicture) -> None:
    kind = trace(room.tsdf, furniture_of(room.truth, PANOROOMS3D), Camera(), SIZE).kind
    assert set(np.unique(kind)) == {NOTHING, SKIN, SURFACE}
    assert (kind[[0, -1]] == NOTHING).all()
    middle = kind[SIZE[0] - 60 : SIZE[0] + 60, SIZE[1] - 60 : SIZE[1] + 60]
    assert (middle == SURFACE).mean() > 0.97


def test_upward_sides_are_brighter_and_furniture_casts_a_shadow(room: RoomPicture) -> None:
    furniture = furniture_of(room.truth, PANOROOMS3D)
    lit = trace(room.tsdf, np.zeros_like(furniture), TOP, SIZE)
    shaded = trace(room.tsdf, furniture, TOP, SIZE)
    floor = (lit.kind == SURFACE) & (np.abs(lit.point[..., 2] - MARGIN_VOXELS) < 0.5)
    assert (shaded.shade <= lit.shade + 1e-6)[floor].all()
    assert 0.02 < (shaded.shade < lit.shade - 0.05)[floor].mean() < 0.6


def test_a_surface_at_the_border_of_the_volume_stays_in_it() -> None:
    tsdf = np.full((9, 9, 9), 127, np.int8)
    tsdf[:, :, :3] = -60
    picture = dollhouse(tsdf, np.full((9, 9, 9, 3), 200, np.uint8), furniture=tsdf < 127, size=(40, 40))
    assert (picture != 255).any()


def test_empty_volume_gives_the_background() -> None:
    tsdf = np.full((8, 8, 8), 127, np.int8)
    picture = dollhouse(tsdf, np.zeros((8, 8, 8, 3), np.uint8), size=(20, 30), background=(1, 2, 3))
    assert picture.shape == (20, 30, 3)
    assert (picture == (1, 2, 3)).all()


def test_best_camera_sees_the_wardrobe_s_front(room: RoomPicture) -> None:
    """It stands at the wall x = 4.2 m, so a viewer on that side would see its unseen back."""
    chosen = best_camera(room.tsdf, furniture_of(room.truth, PANOROOMS3D))
    assert chosen.axes[2][0] < 0


def test_four_columns_of_a_room_agree_where_the_prediction_is_right(room: RoomPicture) -> None:
    views = room_views(room, (120, 150), PANOROOMS3D)
    same = (views.truth == views.prediction).all(axis=-1)
    opaque = views.truth[..., 3] == 255
    red = opaque & (views.error[..., 0] > 1.8 * views.error[..., 1])
    assert views.input.shape == (120, 150, 4)
    assert red.any()
    assert not (red & same).any()
    assert (views.truth[..., 3] == views.input[..., 3]).all()


def test_error_colours_by_hand() -> None:
    colors = error_colors(np.array([0, 5, 5], np.uint8), np.array([5, 5, 6], np.uint8))
    assert colors.tolist() == [list(UNJUDGED), list(RIGHT), list(WRONG)]


def test_over_mixes_by_alpha() -> None:
    image = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    assert over(image, (100, 100, 100)).tolist() == [[[200, 100, 0], [100, 100, 100], [120, 100, 80]]]
