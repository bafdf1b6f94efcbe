"""Polygons of models as triangles: a fan where it fits, else ears cut off one by one; and the area of a flat one.

A fan from the first corner of a polygon that is not convex, such as the frame round a pane, covers what it frames.
"""

from __future__ import annotations

import numpy as np

MAX_CORNERS = 256  # of a polygon whose ears are cut; a larger one, which no furniture has, stays a fan
FLAT = 1e-6  # of the polygon's area: a triangle that is turned over by less is not


def triangulated(
    corners: np.ndarray,  # (P,) int64, of each polygon, 3 or more
    points: np.ndarray,  # (C, 3) float64, of all corners one after the other
) -> tuple[np.ndarray, np.ndarray]:  # (F, 3) int64, places in points; (F,) int64, polygon
    """corners - 2 triangles a polygon, in the order of the polygons, wound as they are."""
    per_polygon = corners - 2
    polygon = np.repeat(np.arange(len(corners)), per_polygon)
    start = np.cumsum(corners) - corners
    first_triangle = np.cumsum(per_polygon) - per_polygon
    k = np.arange(len(polygon)) - first_triangle[polygon]
    triangles = np.stack([start[polygon], start[polygon] + k + 1, start[polygon] + k + 2], axis=1)
    for bad in _folded(triangles, points, first_triangle, polygon):
        n, at = int(corners[bad]), int(start[bad])
        if n == 4:
            cut = np.array([(1, 2, 3), (1, 3, 0)])  # along the other diagonal
        elif n <= MAX_CORNERS:
            cut = _ears(points[at : at + n])
        else:
            continue
        triangles[first_triangle[bad] : first_triangle[bad] + n - 2] = at + cut
    return triangles, polygon


def _folded(
    triangles: np.ndarray, points: np.ndarray, first_triangle: np.ndarray, polygon: np.ndarray
) -> np.ndarray:  # polygons
    """Those of which a fan's triangle looks the other way than the whole."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    facing = np.cross(b - a, c - a)
    whole = np.add.reduceat(facing, first_triangle)
    against = np.einsum("ij,ij->i", facing, whole[polygon]) < -FLAT * np.square(whole).sum(axis=1)[polygon]
    return np.unique(polygon[against])


def _ears(points: np.ndarray) -> np.ndarray:  # (n, 3) -> (n - 2, 3) places
    """A corner is an ear, and is cut off, where it bends outward and no other corner lies in its triangle."""
    flat = _in_plane(points)
    left, triangles = list(range(len(points))), []
    while len(left) > 3:
        at = next((k for k in range(len(left)) if _is_ear(flat, left, k)), None)
        if at is None:  # it crosses itself: what is left becomes a fan
            break
        triangles.append((left[at - 1], left[at], left[(at + 1) % len(left)]))
        del left[at]
    return np.array(triangles + [(left[0], left[k], left[k + 1]) for k in range(1, len(left) - 1)])


def _in_plane(points: np.ndarray) -> np.ndarray:  # (n, 3) -> (n, 2), counter-clockwise
    following = np.roll(points, -1, axis=0)
    normal = np.cross(points - points[0], following - points[0]).sum(axis=0)
    axis = int(np.abs(normal).argmax())
    u, v = (axis + 1) % 3, (axis + 2) % 3
    return points[:, [u, v] if normal[axis] > 0 else [v, u]]


def _is_ear(flat: np.ndarray, left: list[int], k: int) -> bool:
    a, b, c = flat[left[k - 1]], flat[left[k]], flat[left[(k + 1) % len(left)]]
    if _turn(a, b, c) <= 0:
        return False
    others = flat[[place for place in left if place not in (left[k - 1], left[k], left[(k + 1) % len(left)])]]
    inside = (_turn(a, b, others) > 0) & (_turn(b, c, others) > 0) & (_turn(c, a, others) > 0)
    return not inside.any()


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:  # (2,), (2,), (..., 2) -> (...)
    """Twice the area of the triangle, positive where it turns left."""
    return (b[0] - a[0]) * (c[..., 1] - a[1]) - (b[1] - a[1]) * (c[..., 0] - a[0])


def signed_area(polygon: np.ndarray) -> float:  # (n, 2)
    """Of a flat polygon, positive where its corners go counter-clockwise."""
    x, y = polygon.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
