"""Which face does each pixel see? A z-buffer of keys (see ``simd``), drawn cluster by cluster from front to back.

Corners are rounded to 1/1024 pixel. A small triangle is drawn by edge functions, exact in int32; a large one row by
row, between bounds that only change their sign when the ends of an edge are swapped. Pixels on an edge belong to both
its faces. So no pixel falls between two faces, and none depends on the order of drawing.
"""

from __future__ import annotations

import math

import numpy as np

from roomseg.geometry.culling import (
    NEAR_M,
    View,
    Window,
    clusters_in_view,
    is_hidden,
    mark_changed,
    tiles_of,
    to_camera,
)
from roomseg.geometry.kernels import inlined_kernel, kernel
from roomseg.geometry.packed import CLUSTER
from roomseg.geometry.simd import LANES, draw_span, draw_triangle_row

SUBPIXEL_BITS = 10
SUBPIXELS = 1 << SUBPIXEL_BITS
SMALL = np.float32(15.5 * SUBPIXELS)  # sides up to this keep edge functions within int32
NO_BOUND = 1e9
_ONE, _HALF, _ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)
_NEAR = np.float32(NEAR_M)
_MIDDLE = SUBPIXELS // 2  # of a pixel
_INVERSE_NEAR = np.float32(_ONE / _NEAR)
FACE_BITS = np.int64(2**32 - 1)


@inlined_kernel
def face_of(key: int) -> np.int64:
    """The face of a key that is not 0."""
    return FACE_BITS - (key & FACE_BITS)


@inlined_kernel
def same_face(key: int, other: int) -> bool:
    return (key & FACE_BITS) == (other & FACE_BITS)


@inlined_kernel
def inverse_depth_of(key: int) -> np.float32:
    return np.int32(key >> 32).view(np.float32)


@kernel
def draw(corners: np.ndarray, boxes: np.ndarray, view: View, window: Window) -> None:
    """Draw the clusters (C, 9, CLUSTER) in their bounding boxes (6, C) into the window."""
    screen, bounds = np.empty((9, CLUSTER), np.float32), np.empty((4, CLUSTER), np.float32)
    points, polygon = np.empty((3, 3), np.float32), np.empty((4, 3))
    clusters, nearest = clusters_in_view(boxes, view, window)
    for i in range(len(clusters)):
        c = clusters[i]
        tiles = tiles_of(boxes, c, nearest[i], view, window)
        if is_hidden(tiles, nearest[i], window):
            continue
        mark_changed(tiles, window)
        _project(corners[c], view, screen, bounds)
        for t in range(CLUSTER):
            face_bits = FACE_BITS - np.int64(c * CLUSTER + t)
            if nearest[i] < _NEAR:
                in_front = _in_front(screen[2, t]) + _in_front(screen[5, t]) + _in_front(screen[8, t])
                if in_front < 3:
                    if in_front > 0:
                        _draw_clipped(corners[c, :, t], view, points, polygon, face_bits, window)
                    continue
            _draw_triangle(screen, bounds, t, face_bits, window)


@inlined_kernel
def _in_front(inverse_depth: np.float32) -> int:
    return 1 if _ZERO < inverse_depth <= _INVERSE_NEAR else 0


@inlined_kernel
def _on_screen(across: np.float32, inverse_depth: np.float32, focal: np.float32, middle: np.float32) -> np.float32:
    """Image coordinate in subpixels, a whole number."""
    return np.trunc((focal * across * inverse_depth + middle) * np.float32(SUBPIXELS) + _HALF)


@kernel
def _project(corners: np.ndarray, view: View, screen: np.ndarray, bounds: np.ndarray) -> None:
    """From corners (9, CLUSTER) to ``screen`` (9, CLUSTER), x y and inverse depth of each corner, and ``bounds``
    (4, CLUSTER): lowest and highest x, lowest and highest y. Corners behind the camera get meaningless places."""
    fx, fy, cx, cy = view.lens
    for corner in range(0, 9, 3):
        for t in range(CLUSTER):
            x, y, z = to_camera(view, corners[corner, t], corners[corner + 1, t], corners[corner + 2, t])
            inverse = _ONE / z
            screen[corner, t] = _on_screen(x, inverse, fx, cx)
            screen[corner + 1, t] = _on_screen(y, inverse, fy, cy)
            screen[corner + 2, t] = inverse
    for axis in range(2):
        for t in range(CLUSTER):
            a, b, c = screen[axis, t], screen[axis + 3, t], screen[axis + 6, t]
            bounds[2 * axis, t], bounds[2 * axis + 1, t] = min(a, min(b, c)), max(a, max(b, c))


@inlined_kernel
def _draw_triangle(screen: np.ndarray, bounds: np.ndarray, t: int, face_bits: int, window: Window) -> None:
    low_x, high_x, low_y, high_y = bounds[0, t], bounds[1, t], bounds[2, t], bounds[3, t]
    if high_x < np.float32(window.left * SUBPIXELS) or low_x > np.float32(window.right * SUBPIXELS):
        return
    if high_y < _ZERO or low_y > np.float32(window.height * SUBPIXELS):
        return
    if high_x - low_x > SMALL or high_y - low_y > SMALL:
        a, b, c = _corner(screen, 0, t), _corner(screen, 3, t), _corner(screen, 6, t)
        _draw_large(a, b, c, face_bits, window)
        return
    first_col = max(window.left, (int(low_x) + _MIDDLE - 1) >> SUBPIXEL_BITS)
    last_col = min(window.right - 1, (int(high_x) - _MIDDLE) >> SUBPIXEL_BITS)
    first_row = max(0, (int(low_y) + _MIDDLE - 1) >> SUBPIXEL_BITS)
    last_row = min(window.height - 1, (int(high_y) - _MIDDLE) >> SUBPIXEL_BITS)
    if first_col <= last_col and first_row <= last_row:
        _draw_small(screen, t, first_row, last_row, first_col, last_col, face_bits, window)


@inlined_kernel
def _corner(screen: np.ndarray, corner: int, t: int) -> tuple[float, float, float]:
    return np.float64(screen[corner, t]), np.float64(screen[corner + 1, t]), np.float64(screen[corner + 2, t])


@inlined_kernel
def _draw_small(
    screen: np.ndarray,
    t: int,
    first_row: int,
    last_row: int,
    first_col: int,
    last_col: int,
    face_bits: int,
    window: Window,
) -> None:
    """Draw a triangle into the rectangle of pixels by its edge functions, relative to the first pixel's centre."""
    x0, y0 = np.int64(first_col * SUBPIXELS + _MIDDLE), np.int64(first_row * SUBPIXELS + _MIDDLE)
    ax, ay, wa = np.int64(screen[0, t]) - x0, np.int64(screen[1, t]) - y0, screen[2, t]
    bx, by, wb = np.int64(screen[3, t]) - x0, np.int64(screen[4, t]) - y0, screen[5, t]
    cx, cy, wc = np.int64(screen[6, t]) - x0, np.int64(screen[7, t]) - y0, screen[8, t]
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if area == 0:
        return
    if area < 0:
        bx, by, wb, cx, cy, wc, area = cx, cy, wc, bx, by, wb, -area
    scale = _ONE / np.float32(area)
    wa, wb, wc = wa * scale, wb * scale, wc * scale
    a, b, c = bx * cy - cx * by, cx * ay - ax * cy, ax * by - bx * ay  # at the first pixel
    xa, xb, xc = (by - cy) << SUBPIXEL_BITS, (cy - ay) << SUBPIXEL_BITS, (ay - by) << SUBPIXEL_BITS
    ya, yb, yc = (cx - bx) << SUBPIXEL_BITS, (ax - cx) << SUBPIXEL_BITS, (bx - ax) << SUBPIXEL_BITS
    for row in range(first_row, last_row + 1):
        start = np.uint64(row * window.stride + first_col - window.left)
        for done in range(0, last_col - first_col + 1, LANES):
            ea, eb, ec = np.int32(a + done * xa), np.int32(b + done * xb), np.int32(c + done * xc)
            draw_triangle_row(
                window.keys, start + np.uint64(done),
                ea, np.int32(xa), eb, np.int32(xb), ec, np.int32(xc), wa, wb, wc, face_bits,
            )  # fmt: skip
        a, b, c = a + ya, b + yb, c + yc


@inlined_kernel
def _bounds_of_edge(x: float, y: float, c: float) -> tuple[float, float, float, float]:
    """Columns at which the edge x px + y py + c >= 0 lets a row begin and end: each a constant and a slope in py."""
    if x == 0.0:
        return -NO_BOUND, 0.0, NO_BOUND, 0.0
    at, slope = -(c + _MIDDLE * x) / (SUBPIXELS * x), -y / (SUBPIXELS * x)
    if x > 0.0:
        return at, slope, NO_BOUND, 0.0
    return -NO_BOUND, 0.0, at, slope


@kernel
def _draw_large(
    a: tuple[float, float, float],  # x and y in subpixels, inverse depth
    b: tuple[float, float, float],
    c: tuple[float, float, float],
    face_bits: int,
    window: Window,
) -> None:
    area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
    if area == 0.0:
        return
    if area < 0.0:
        b, c, area = c, b, -area
    (ax, ay, wa), (bx, by, wb), (cx, cy, wc) = a, b, c
    xa, ya, ka = by - cy, cx - bx, bx * cy - cx * by  # edge b-c: xa x + ya y + ka >= 0 inside
    xb, yb, kb = cy - ay, ax - cx, cx * ay - ax * cy
    xc, yc, kc = ay - by, bx - ax, ax * by - bx * ay
    step = SUBPIXELS * (xa * wa + xb * wb + xc * wc) / area
    down, base = (ya * wa + yb * wb + yc * wc) / area, (ka * wa + kb * wb + kc * wc) / area + 0.5 * step
    begin_a, begin_a_y, end_a, end_a_y = _bounds_of_edge(xa, ya, ka)
    begin_b, begin_b_y, end_b, end_b_y = _bounds_of_edge(xb, yb, kb)
    begin_c, begin_c_y, end_c, end_c_y = _bounds_of_edge(xc, yc, kc)
    low = max(window.left, math.ceil((min(ax, bx, cx) - _MIDDLE) / SUBPIXELS))
    high = min(window.right - 1.0, math.floor((max(ax, bx, cx) - _MIDDLE) / SUBPIXELS))
    first_row = int(max(0.0, math.ceil((min(ay, by, cy) - _MIDDLE) / SUBPIXELS)))
    last_row = int(min(window.height - 1.0, math.floor((max(ay, by, cy) - _MIDDLE) / SUBPIXELS)))
    for row in range(first_row, last_row + 1):
        y = float(SUBPIXELS * row + _MIDDLE)
        begin = max(max(low, begin_a + begin_a_y * y), max(begin_b + begin_b_y * y, begin_c + begin_c_y * y))
        end = min(min(high, end_a + end_a_y * y), min(end_b + end_b_y * y, end_c + end_c_y * y))
        first, last = math.ceil(begin), math.floor(end)
        start, inverse_depth = row * window.stride - window.left, base + down * y
        for col in range(first, last + 1, LANES):
            draw_span(window.keys, np.uint64(start + col), last + 1 - col, inverse_depth + step * col, step, face_bits)


@kernel
def _draw_clipped(
    corners: np.ndarray,  # (9,)
    view: View,
    points: np.ndarray,  # (3, 3) scratch
    polygon: np.ndarray,  # (4, 3) scratch
    face_bits: int,
    window: Window,
) -> None:
    """Draw what of a triangle is in front of the near plane.

    A cut is always computed from the corner in front to the one behind: faces with a common edge get the same point.
    """
    fx, fy, cx, cy = view.lens
    for i in range(3):
        points[i, 0], points[i, 1], points[i, 2] = to_camera(
            view, corners[3 * i], corners[3 * i + 1], corners[3 * i + 2]
        )
    n = 0
    for i in range(3):
        a, b = points[i], points[(i + 1) % 3]
        a_seen, b_seen = a[2] >= _NEAR, b[2] >= _NEAR
        if a_seen:
            inverse = _ONE / a[2]
            polygon[n, 0], polygon[n, 1] = _on_screen(a[0], inverse, fx, cx), _on_screen(a[1], inverse, fy, cy)
            polygon[n, 2] = inverse
            n += 1
        if a_seen != b_seen:
            front, back = (a, b) if a_seen else (b, a)
            t = (front[2] - _NEAR) / (front[2] - back[2])
            x, y = front[0] + t * (back[0] - front[0]), front[1] + t * (back[1] - front[1])
            polygon[n, 0], polygon[n, 1] = _on_screen(x, _INVERSE_NEAR, fx, cx), _on_screen(y, _INVERSE_NEAR, fy, cy)
            polygon[n, 2] = _INVERSE_NEAR
            n += 1
    for k in range(2, n):
        p, q, r = polygon[0], polygon[k - 1], polygon[k]
        _draw_large((p[0], p[1], p[2]), (q[0], q[1], q[2]), (r[0], r[1], r[2]), face_bits, window)
