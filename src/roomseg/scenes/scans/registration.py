"""Colour and labels brought into the depth camera.

Each depth pixel is a point; the colour pixel that the point falls into gives colour and label. A surface that the
colour camera cannot see because a nearer one hides it takes the nearer one's: with cameras a few centimetres apart
these are slivers at edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from roomseg.geometry.cameras import Lens, Pinhole
from roomseg.geometry.kernels import kernel
from roomseg.geometry.raster import Frame


@dataclass(frozen=True)
class Rig:
    """Two cameras that are fixed to one another."""

    depth: Pinhole
    color: Pinhole
    depth_to_color: np.ndarray  # (4, 4) rigid, of points in the cameras' frames


def register(depth: np.ndarray, color: np.ndarray, label: np.ndarray, rig: Rig) -> Frame:
    """Depth (H, W) metres, colour (H', W', 3) and label (H', W') of the colour camera -> a frame of the depth camera.

    Pixels without depth get no colour and label 0. Where the colour camera does not look, the depth is dropped too:
    fused, it would be black.
    """
    out = Frame(
        np.zeros((*depth.shape, 3), np.uint8), np.zeros(depth.shape, np.float32), np.zeros(depth.shape, np.uint8)
    )
    rotation = np.ascontiguousarray(rig.depth_to_color[:3, :3], np.float64)
    shift = np.ascontiguousarray(rig.depth_to_color[:3, 3], np.float64)
    _register(depth, color, label, rig.depth.lens, rig.color.lens, rotation, shift, out)
    return out


@kernel
def _register(
    depth: np.ndarray,  # (H, W) metres
    color: np.ndarray,  # (H', W', 3)
    label: np.ndarray,  # (H', W')
    lens: Lens,
    color_lens: Lens,
    rotation: np.ndarray,  # (3, 3)
    shift: np.ndarray,  # (3,)
    out: Frame,
) -> None:
    fx, fy, cx, cy = lens
    color_fx, color_fy, color_cx, color_cy = color_lens
    height, width = label.shape
    for row in range(depth.shape[0]):
        for col in range(depth.shape[1]):
            z = depth[row, col]
            if z <= 0.0:
                continue
            px, py, pz = (col + 0.5 - cx) / fx * z, (row + 0.5 - cy) / fy * z, np.float64(z)
            qz = rotation[2, 0] * px + rotation[2, 1] * py + rotation[2, 2] * pz + shift[2]
            if qz <= 0.0:
                continue
            qx = rotation[0, 0] * px + rotation[0, 1] * py + rotation[0, 2] * pz + shift[0]
            qy = rotation[1, 0] * px + rotation[1, 1] * py + rotation[1, 2] * pz + shift[1]
            u, v = math.floor(color_fx * qx / qz + color_cx), math.floor(color_fy * qy / qz + color_cy)
            if u < 0 or u >= width or v < 0 or v >= height:
                continue
            out.depth[row, col], out.label[row, col] = z, label[v, u]
            for channel in range(3):
                out.rgb[row, col, channel] = color[v, u, channel]
