"""Scores of a segmentation from the confusion matrices of its rooms, in two conventions that are never mixed.

Ours (``miou``, ``macc``, ``aacc``): one matrix over the whole split, voxels whose true label is not void, the classes
1.. that occur there. Published (``*_published``): each room by itself over all its voxels and its present classes,
void included; then the rooms' mean, weighted by their volumes. Shapes: R rooms, K classes; (R, K, K) int64, rows truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from roomseg.labels import VOID

Metric = Callable[[np.ndarray], float]


class ConfusionMatrix:
    """Counts of (true, predicted) pairs; add a room in as many parts as you like."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count voxels (any equal shapes, integers 0..K-1); raises ValueError for a label outside."""
        classes = len(self.counts)
        if truth.shape != predicted.shape:
            raise ValueError(f"truth has the shape {truth.shape}, the prediction {predicted.shape}")
        for name, values in (("true", truth), ("predicted", predicted)):
            if values.size and not 0 <= values.min() <= values.max() < classes:
                raise ValueError(f"{name} labels go from {values.min()} to {values.max()}; expected 0 to {classes - 1}")
        pairs = truth.reshape(-1).astype(np.int32) * classes + predicted.reshape(-1)
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def miou(rooms: np.ndarray) -> float:
    return _mean_of_present(class_iou(rooms))


def macc(rooms: np.ndarray) -> float:
    counts = _without_void_truth(rooms)
    return _mean_of_present(_recall(counts))


def aacc(rooms: np.ndarray) -> float:
    counts = _without_void_truth(rooms)
    total = counts.sum()
    return float(np.trace(counts) / total) if total else float("nan")


def miou_published(rooms: np.ndarray) -> float:
    return _volume_weighted(rooms, [_mean_of_present(_iou(room)) for room in rooms])


def macc_published(rooms: np.ndarray) -> float:
    return _volume_weighted(rooms, [_mean_of_present(_recall(room)) for room in rooms])


def aacc_published(rooms: np.ndarray) -> float:
    return float(np.einsum("rkk->", rooms) / np.sum(rooms))


METRICS: tuple[Metric, ...] = (miou, miou_published, macc, macc_published, aacc, aacc_published)


def all_scores(rooms: Sequence[np.ndarray]) -> dict[str, float]:
    """Every metric under its name."""
    stacked = _stacked(rooms)
    return {metric.__name__: metric(stacked) for metric in METRICS}


def class_iou(rooms: np.ndarray) -> np.ndarray:  # (K,) float64
    """IoU of each class as ``miou`` averages it; NaN for void and for classes that do not occur."""
    return _iou(_without_void_truth(rooms))


def bootstrap_interval(rooms: Sequence[np.ndarray], metric: Metric, samples: int, seed: int) -> tuple[float, float]:
    """The 95% interval of a metric over rooms drawn with replacement."""
    stacked = _stacked(rooms)
    rng = np.random.default_rng(seed)
    values = [metric(stacked[rng.integers(len(stacked), size=len(stacked))]) for _ in range(samples)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _stacked(rooms: Sequence[np.ndarray]) -> np.ndarray:
    if not len(rooms):
        raise ValueError("there are no rooms to score")
    return np.stack(list(rooms))


def _without_void_truth(rooms: np.ndarray) -> np.ndarray:  # (K, K)
    counts = np.sum(rooms, axis=0)
    counts[VOID] = 0
    return counts


def _iou(counts: np.ndarray) -> np.ndarray:  # (K,), NaN for classes without a true voxel
    true = counts.sum(axis=1)
    union = true + counts.sum(axis=0) - counts.diagonal()
    return np.where(true > 0, counts.diagonal() / np.maximum(union, 1), np.nan)


def _recall(counts: np.ndarray) -> np.ndarray:  # (K,), NaN for classes without a true voxel
    true = counts.sum(axis=1)
    return np.where(true > 0, counts.diagonal() / np.maximum(true, 1), np.nan)


def _mean_of_present(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def _volume_weighted(rooms: np.ndarray, values: list[float]) -> float:
    return float(np.average(values, weights=rooms.sum(axis=(1, 2))))
