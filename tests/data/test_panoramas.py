from __future__ import annotations

import numpy as np

from roomseg.data.panoramas import augment_panorama


def panorama() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels that tell row and column; labels are the columns."""
    rows, columns = np.mgrid[0:4, 0:8]
    rgb = np.repeat((80 + 10 * rows + columns)[..., None], 3, axis=2).astype(np.uint8)
    return rgb, columns.astype(np.uint8)


def test_pixels_and_labels_move_together_round_the_vertical() -> None:
    rgb, label = panorama()
    seen = set()
    for seed in range(60):
        _, moved = augment_panorama(rgb, label, np.random.default_rng(seed))
        assert (moved == moved[:1]).all()  # rows are kept
        steps = np.diff(moved[0].astype(int)) % 8
        assert (steps == 1).all() or (steps == 7).all()  # turned, or turned and mirrored
        seen.add((int(moved[0, 0]), int(steps[0])))
    assert len(seen) == 16


def test_light_keeps_the_order_of_greys_with_the_labels() -> None:
    rgb, label = panorama()
    for seed in range(20):
        lit, moved = augment_panorama(rgb, label, np.random.default_rng(seed))
        assert lit.dtype == np.uint8
        assert lit.shape == rgb.shape
        by_label = lit[0, np.argsort(moved[0]), 0].astype(int)
        assert (np.diff(by_label) >= 0).all()
        assert (lit[3] >= lit[0]).all()


def test_the_generator_decides_and_the_input_stays() -> None:
    rgb, label = panorama()
    before = rgb.copy()
    first = augment_panorama(rgb, label, np.random.default_rng(3))
    second = augment_panorama(rgb, label, np.random.default_rng(3))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(rgb, before)
