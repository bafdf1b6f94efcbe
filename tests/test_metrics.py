from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomseg import metrics
from roomseg.metrics import ConfusionMatrix, all_scores, bootstrap_interval, class_iou

# rows truth, columns prediction; class 3 occurs in no room
ROOM_A = np.array([[50, 2, 0, 1], [4, 6, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])  # volume 63
ROOM_B = np.array([[20, 0, 0, 0], [0, 0, 0, 0], [1, 1, 8, 0], [0, 0, 0, 0]])  # volume 30
ROOMS = np.stack([ROOM_A, ROOM_B])


def test_scores_by_hand() -> None:
    scores = all_scores([ROOM_A, ROOM_B])
    # ours, without true void: class 1: 6 right, 10 true, 7 predicted; class 2: 8 right, 10 true, 8 predicted
    assert scores["miou"] == pytest.approx((6 / 11 + 8 / 10) / 2)
    assert scores["macc"] == pytest.approx((0.6 + 0.8) / 2)
    assert scores["aacc"] == pytest.approx(14 / 20)
    # published: room A has classes 0 and 1, room B 0 and 2
    miou_a, miou_b = (50 / 57 + 6 / 12) / 2, (20 / 21 + 8 / 10) / 2
    assert scores["miou_published"] == pytest.approx((63 * miou_a + 30 * miou_b) / 93)
    macc_a, macc_b = (50 / 53 + 0.6) / 2, (1 + 0.8) / 2
    assert scores["macc_published"] == pytest.approx((63 * macc_a + 30 * macc_b) / 93)
    assert scores["aacc_published"] == pytest.approx(84 / 93)


def test_class_iou_is_nan_for_void_and_absent_classes() -> None:
    np.testing.assert_allclose(class_iou(ROOMS), [np.nan, 6 / 11, 0.8, np.nan])


def test_nothing_but_void_has_no_score_of_ours() -> None:
    void = np.zeros((1, 4, 4), np.int64)
    void[0, 0, 0] = 5
    assert np.isnan(metrics.miou(void))
    assert np.isnan(metrics.aacc(void))
    assert metrics.miou_published(void) == 1


@given(st.integers(0, 1000))
def test_confusion_counts_pairs_in_any_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 30, (2, 3, 4, 5)).astype(np.uint8)
    matrix = ConfusionMatrix(30)
    matrix.add(truth[:1], predicted[:1])
    matrix.add(truth[1:], predicted[1:])
    expected = np.zeros((30, 30), np.int64)
    for t, p in zip(truth.flat, predicted.flat, strict=True):
        expected[t, p] += 1
    np.testing.assert_array_equal(matrix.counts, expected)
    assert matrix.counts.dtype == np.int64


def test_labels_outside_and_unequal_shapes_are_refused() -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match="predicted labels go from 0 to 3"):
        matrix.add(np.zeros(2, np.uint8), np.array([0, 3]))
    with pytest.raises(ValueError, match="shape"):
        matrix.add(np.zeros(2, np.uint8), np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="no rooms"):
        all_scores([])


def test_the_input_is_not_changed() -> None:
    before = ROOMS.copy()
    all_scores(list(ROOMS))
    np.testing.assert_array_equal(ROOMS, before)
    single = ROOM_A[None].copy()
    metrics.miou(single)
    np.testing.assert_array_equal(single[0], ROOM_A)


def test_bootstrap_interval() -> None:
    low, high = bootstrap_interval([ROOM_A, ROOM_B], metrics.aacc, samples=200, seed=1)
    assert (low, high) == (pytest.approx(0.6), pytest.approx(0.8))  # one room alone, twice
    assert bootstrap_interval([ROOM_A, ROOM_B], metrics.aacc, 200, 1) == (low, high)
    assert bootstrap_interval([ROOM_A] * 3, metrics.miou, 20, 0) == (pytest.approx(0.6), pytest.approx(0.6))
