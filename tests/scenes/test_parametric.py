from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import KINDS, LABEL_OF_KIND, Kind
from roomseg.scenes.parametric import catalogue
from roomseg.scenes.parametric.shapes import Paint, box, cushion, cylinder, picture, rod, tapered, turned

PAINT = Paint((10, 20, 30))
WITH_BACK: tuple[Kind, ...] = ("chair", "office_chair", "armchair", "sofa", "bed")


def closed_volume(mesh: TriangleMesh) -> float:
    """By the divergence theorem: positive when the triangles look outward."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_box_has_its_bounds_its_volume_and_looks_outward() -> None:
    mesh = box((-1, 0, 2), (1, 3, 7), PAINT)
    np.testing.assert_array_equal(mesh.bounds, [[-1, 0, 2], [1, 3, 7]])
    assert closed_volume(mesh) == pytest.approx(30)
    assert closed_volume(tapered((0, 0, 0), (2, 2, 3), 0.0, PAINT)) == pytest.approx(4)  # a pyramid


def test_box_texture_runs_in_metres_along_the_longer_side() -> None:
    from roomseg.scenes.textures import Texture

    paint = Paint((0, 0, 0), Texture("", np.zeros((2, 2, 3), np.uint8), (0.5, 0.25)))
    mesh = box((0, 0, 0), (1, 0.1, 4), paint)
    assert np.ptp(mesh.uv.reshape(6, 6, 2), axis=1).max(axis=0).tolist() == [8.0, 4.0]


def test_round_shapes() -> None:
    assert closed_volume(cylinder(0.5, 0, 2, PAINT, sides=200)) == pytest.approx(np.pi / 2, rel=1e-3)
    assert closed_volume(rod((1, 1, 1), (4, 5, 1), 0.1, PAINT, sides=100)) == pytest.approx(0.05 * np.pi, rel=1e-2)
    ball = cushion((-1, -2, 0), (1, 2, 3), PAINT, roundness=1.0, sides=64)
    assert closed_volume(ball) == pytest.approx(4 / 3 * np.pi * 1 * 2 * 1.5, rel=1e-2)
    np.testing.assert_allclose(ball.bounds, [[-1, -2, 0], [1, 2, 3]], atol=1e-6)
    dish = turned([(1, 0), (1, 1)], PAINT, at=(5, 6), squeeze=(1, 0.5), sides=64)
    np.testing.assert_allclose(dish.bounds, [[4, 5.5, 0], [6, 6.5, 1]], atol=1e-3)


def test_picture_is_seen_from_the_front_the_right_way_round() -> None:
    mesh = picture((-1, 0, 0), (1, 0, 2), np.zeros((4, 4, 3), np.uint8))
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a)[1] < 0
    by_corner = {
        tuple(v): tuple(t)
        for f, uv in zip(mesh.faces, mesh.uv, strict=True)
        for v, t in zip(mesh.vertices[f], uv, strict=True)
    }
    assert by_corner == {(-1, 0, 0): (0, 0), (1, 0, 0): (1, 0), (1, 0, 2): (1, 1), (-1, 0, 2): (0, 1)}


def test_every_variant_fills_its_size_and_is_sound() -> None:
    counts: dict[Kind, int] = defaultdict(int)
    for variant in catalogue.variants():
        counts[variant.kind] += 1
        if variant.number % 3:
            continue
        mesh = catalogue.build(variant.kind, variant.number)
        width, depth, height = variant.size_m
        expected = [[-width / 2, -depth / 2, 0], [width / 2, depth / 2, height]]
        np.testing.assert_allclose(mesh.bounds, expected, atol=1e-4, err_msg=variant.name)
        assert set(mesh.face_label) == {LABEL_OF_KIND[variant.kind]}
        assert 6 <= len(mesh) <= 6000, variant.name
        assert np.isfinite(mesh.vertices).all()
        assert np.isfinite(mesh.uv).all()
        assert -1 <= mesh.face_texture.min() <= mesh.face_texture.max() < max(len(mesh.textures), 1)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 6
    many: tuple[Kind, ...] = (
        "chair",
        "dining_table",
        "sofa",
        "bed",
        "cabinet",
        "stool",
        "wardrobe",
        "plant",
        "floor_lamp",
    )
    assert all(counts[kind] >= 20 for kind in many)


# The kinds of each major class that are told apart by form.
MAJOR: dict[str, tuple[Kind, ...]] = {
    "chair": ("chair", "armchair", "office_chair"),
    "table": ("coffee_table", "dining_table", "side_table"),
    "sofa": ("sofa", "corner_sofa"),
    "bed": ("bed", "bunk_bed", "crib"),
    "cabinet": ("tv_stand", "bookcase", "cabinet"),
    "lamp": ("floor_lamp", "table_lamp", "ceiling_lamp"),
    "stool": ("stool", "bench"),
    "wardrobe": ("wardrobe",),
    "plant": ("plant",),
    "door": ("door",),
    "window": ("window",),
}
SIDE = 16  # cells
IN_FACE = np.array([(i / 14, j / 14) for i in range(15) for j in range(15 - i)])  # points, as weights of two corners


def form(mesh: TriangleMesh) -> set[int]:
    """The cells of a 16^3 grid over the mesh's bounds that its surface touches: the same for any size of it."""
    low, high = mesh.bounds
    corners = ((mesh.vertices - low) / np.maximum(high - low, 1e-9))[mesh.faces]
    weights = np.column_stack([1 - IN_FACE.sum(axis=1), IN_FACE])
    points = np.einsum("sk,fkd->fsd", weights, corners).reshape(-1, 3)
    cells = np.minimum((points * SIDE).astype(int), SIDE - 1)
    return set(np.unique(cells @ [SIDE * SIDE, SIDE, 1]).tolist())


@pytest.mark.parametrize("name", MAJOR)
def test_major_classes_have_twenty_forms(name: str) -> None:
    """Forms that share less than nine tenths of their cells with any other that is counted."""
    numbers = [(v.kind, v.number) for v in catalogue.variants() if v.kind in MAJOR[name]]
    different: list[set[int]] = []
    for kind, number in numbers:
        cells = form(catalogue.build(kind, number))
        if all(len(cells & other) < 0.9 * len(cells | other) for other in different):
            different.append(cells)
        if len(different) == 20:
            return
    pytest.fail(f"{name}: {len(different)} forms of {len(numbers)} variants")


def test_variants_are_functions_of_their_number() -> None:
    for kind in KINDS:
        first, again, other = (catalogue.build(kind, number) for number in (1, 1, 2))
        np.testing.assert_array_equal(first.vertices, again.vertices)
        np.testing.assert_array_equal(first.face_color, again.face_color)
        assert first.vertices.shape != other.vertices.shape or not np.array_equal(first.vertices, other.vertices)


@pytest.mark.parametrize("kind", WITH_BACK)
def test_backs_are_at_plus_y(kind: Kind) -> None:
    for number in range(0, 16, 3):
        mesh = catalogue.build(kind, number)
        centre = mesh.vertices[mesh.faces].mean(axis=1)
        top = centre[centre[:, 2] > 0.9 * mesh.bounds[1, 2]]
        assert top[:, 1].mean() > 0.1 * mesh.bounds[1, 1], (kind, number)
