"""Augmentation against a slow reference, and properties that show pictures and labels moved apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.data.panoramas import IGNORED, PADDING, Augmentation, augment_panorama, relight

AS_IT_IS = Augmentation((1.0, 1.0))


def panorama() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels that tell row and column; labels are the columns."""
    rows, columns = np.mgrid[0:4, 0:8]
    rgb = np.repeat((80 + 10 * rows + columns)[..., None], 3, axis=2).astype(np.uint8)
    return rgb, columns.astype(np.uint8)


def coloured_labels(rows: int, patch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares of ``patch`` pixels; the grey of a pixel is six times its label."""
    rng = np.random.default_rng(seed)
    label = rng.integers(1, 30, (rows // patch, 2 * rows // patch)).repeat(patch, 0).repeat(patch, 1).astype(np.uint8)
    return np.repeat(6 * label[..., None], 3, axis=2), label


class Unlit(np.random.Generator):
    """Draws as a generator does, but every chance of one half comes out as no: neither mirrored nor relit."""

    def random(self) -> float:  # type: ignore[override]
        super().random()
        return 0.9


def unlit(seed: int) -> np.random.Generator:
    return Unlit(np.random.PCG64(seed))


def test_pixels_and_labels_move_together_round_the_vertical() -> None:
    rgb, label = panorama()
    seen = set()
    for seed in range(60):
        _, moved = augment_panorama(rgb, label, np.random.default_rng(seed), AS_IT_IS)
        assert (moved == moved[:1]).all()  # rows are kept
        steps = np.diff(moved[0].astype(int)) % 8
        assert (steps == 1).all() or (steps == 7).all()  # turned, or turned and mirrored
        seen.add((int(moved[0, 0]), int(steps[0])))
    assert len(seen) == 16


def test_without_resizing_no_pixel_is_lost_or_resampled() -> None:
    rgb, label = panorama()
    for seed in range(20):
        moved_rgb, moved = augment_panorama(rgb, label, unlit(seed), AS_IT_IS)
        np.testing.assert_array_equal(moved_rgb, np.roll(rgb, -int(moved[0, 0]), axis=1))


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.4, 2.5),
    crop=st.none() | st.tuples(st.integers(8, 80), st.integers(8, 150)),
)
@settings(max_examples=60, deadline=None)
def test_colours_and_labels_stay_aligned(seed: int, scale: float, crop: tuple[int, int] | None) -> None:
    """In the middle of a square of one label, resampled colours are still that label's, also across the seam."""
    rgb, label = coloured_labels(32, 8, seed % 7)
    moved_rgb, moved = augment_panorama(rgb, label, unlit(seed), Augmentation((scale, scale), crop))
    assert moved.shape == moved_rgb.shape[:2] == (crop or label.shape)
    padded = np.pad(moved, 3, constant_values=IGNORED)
    near = [
        padded[3 + i : 3 + i + moved.shape[0], 3 + j : 3 + j + moved.shape[1]] for i in (-3, 0, 3) for j in (-3, 0, 3)
    ]
    inner = np.all([each == moved for each in near], axis=0) & (moved != IGNORED)
    np.testing.assert_allclose(moved_rgb[inner][:, 0], 6.0 * moved[inner], atol=1)
    assert (moved_rgb[moved == IGNORED] == PADDING).all()


def reference(rgb: np.ndarray, scale: float, top: int, turn: int, shape: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel, bilinear, round the seam; at the poles the edge is repeated. NaN beyond them."""
    height, width = rgb.shape[:2]
    out = np.full((*shape, 3), np.nan)
    for i in range(shape[0]):
        for j in range(shape[1]):
            v, u = (top + i + 0.5) / scale, turn + (j + 0.5) / scale
            if 0 <= v < height:
                i0, j0 = int(np.floor(v - 0.5)), int(np.floor(u - 0.5))
                a, b = v - 0.5 - i0, u - 0.5 - j0
                corners = [[rgb[min(max(i0 + k, 0), height - 1), (j0 + m) % width] for m in (0, 1)] for k in (0, 1)]
                above, below = ((1 - b) * left + b * right for left, right in np.array(corners, float))
                out[i, j] = (1 - a) * above + a * below
    return out


@pytest.mark.parametrize("scale", [1.25, 2.0])
def test_enlarged_windows_are_bilinear_and_wrap(scale: float) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (16, 32, 3), dtype=np.uint8)
    label = np.arange(16 * 32).reshape(16, 32) % 251
    crossed = 0
    for seed in range(12):
        draws = np.random.default_rng(seed)
        settings = Augmentation((scale, scale), (14, 40))
        draws.uniform(scale, scale)
        top, turn = int(draws.integers(0, round(16 * scale) - 14 + 1)), int(draws.integers(32))
        got, moved = augment_panorama(rgb, label.astype(np.uint8), unlit(seed), settings)
        np.testing.assert_allclose(got, reference(rgb, scale, top, turn, (14, 40)), atol=1.01)
        rows = np.floor((top + np.arange(14) + 0.5) / scale).astype(int)
        columns = np.floor(turn + (np.arange(40) + 0.5) / scale).astype(int) % 32
        np.testing.assert_array_equal(moved, label[np.ix_(rows, columns)])
        crossed += turn + 40 / scale > 32
    assert crossed > 3


def test_a_shrunk_panorama_goes_round_again_and_is_ignored_beyond_the_poles() -> None:
    rgb, label = coloured_labels(32, 4, 0)
    tops = set()
    for seed in range(20):
        moved_rgb, moved = augment_panorama(rgb, label, np.random.default_rng(seed), Augmentation((0.5, 0.5)))
        inside = (moved != IGNORED).any(axis=1)
        assert inside.sum() == 16
        assert np.ptp(np.flatnonzero(inside)) == 15
        np.testing.assert_array_equal(moved[:, :32], moved[:, 32:])
        np.testing.assert_array_equal(moved_rgb[:, :32], moved_rgb[:, 32:])
        assert (moved_rgb[~inside] == PADDING).all()
        tops.add(int(np.flatnonzero(inside)[0]))
    assert len(tops) > 8


def test_scales_fill_their_range() -> None:
    """Seen in the height of a panorama of one label that shrinks."""
    rgb, label = np.zeros((64, 128, 3), np.uint8), np.ones((64, 128), np.uint8)
    heights = [
        (augment_panorama(rgb, label, np.random.default_rng(seed), Augmentation((0.5, 1.0)))[1][:, 0] == 1).sum()
        for seed in range(200)
    ]
    assert min(heights) < 36
    assert max(heights) > 60
    assert np.mean(heights) == pytest.approx(48, abs=2)


def test_light_keeps_greys_grey_and_in_order() -> None:
    greys = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    for seed in range(60):
        lit = relight(greys, np.random.default_rng(seed))
        assert np.ptp(lit.astype(int), axis=1).max() <= 1
        assert (np.diff(lit[:, 0].astype(int)) >= 0).all()


def test_light_changes_each_of_its_four_ways() -> None:
    """Bounds of what a colour becomes over many draws: contrast 0.5 to 1.5, brightness 32, hue and saturation."""
    grey, red = np.full((1, 3), 100, np.uint8), np.array([[150, 60, 60]], np.uint8)
    greys = np.array([relight(grey, np.random.default_rng(seed))[0, 0] for seed in range(800)])
    assert 0.5 * (100 - 32) - 1 <= greys.min() < 50
    assert 165 < greys.max() <= 1.5 * (100 + 32) + 1
    reds = np.array([relight(red, np.random.default_rng(seed))[0] for seed in range(800)], float)
    assert (reds.argmax(axis=1) == 0).all()  # a turn of 36 degrees does not make red another colour
    assert (reds[:, 1] > reds[:, 2] + 10).any()
    assert (reds[:, 2] > reds[:, 1] + 10).any()
    chroma = np.ptp(reds, axis=1)
    assert chroma.min() < 45
    assert chroma.max() > 135


def test_the_generator_decides_and_the_input_stays() -> None:
    rgb, label = panorama()
    before = rgb.copy()
    first = augment_panorama(rgb, label, np.random.default_rng(3), Augmentation())
    second = augment_panorama(rgb, label, np.random.default_rng(3), Augmentation())
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(rgb, before)
