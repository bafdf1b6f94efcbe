"""A room that every benchmark of the geometry can have without any data: boxes of many small textured triangles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from roomseg.geometry.cameras import look_at
from roomseg.geometry.mesh import TriangleMesh, join_meshes, plain_mesh

EYE_M = np.array([2.9, 2.4, 1.5])


def tessellated_box(low: list[float], high: list[float], cells: int, label: int) -> TriangleMesh:
    """A box of 12 x cells x cells triangles, with a texture."""
    line = np.linspace(0, 1, cells + 1)
    a, b = np.meshgrid(line, line, indexing="ij")
    at = np.arange(a.size).reshape(a.shape)
    p, q, r, s = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel(), at[:-1, 1:].ravel()
    side = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)])
    vertices, faces = [], []
    for n, (axis, end) in enumerate((axis, end) for axis in range(3) for end in (0.0, 1.0)):
        corner = np.insert(np.stack([a.ravel(), b.ravel()], 1), axis, end, axis=1)
        vertices.append(np.array(low) + corner * (np.array(high) - np.array(low)))
        faces.append(side + n * a.size)
    mesh = plain_mesh(np.concatenate(vertices), np.concatenate(faces), label, (180, 170, 160))
    uv = np.tile(np.stack([a.ravel(), b.ravel()], 1), (6, 1))[mesh.faces] * 3
    texture = np.random.default_rng(label).integers(90, 240, (256, 256, 3), np.uint8)
    return replace(mesh, uv=uv.astype(np.float32), face_texture=np.zeros(len(mesh), np.int32), textures=(texture,))


def synthetic_room(wall_cells: int, furniture_cells: int) -> TriangleMesh:
    """6 x 5 x 3 m and five pieces of furniture; with cells 112 and 50, 300,528 triangles."""
    furniture = [
        ([0.3, 0.3, 0.0], [2.3, 2.0, 0.5], 13),
        ([4.0, 3.5, 0.0], [5.8, 4.8, 1.9], 2),
        ([1.2, 3.6, 0.70], [2.6, 4.4, 0.75], 3),
        ([4.8, 0.2, 0.0], [5.8, 1.2, 0.9], 7),
        ([2.6, 2.0, 2.7], [3.0, 2.4, 3.0], 6),
    ]
    parts = [tessellated_box(low, high, furniture_cells, label) for low, high, label in furniture]
    return join_meshes([tessellated_box([0, 0, 0], [6, 5, 3], wall_cells, 17), *parts])


def poses(n: int) -> list[np.ndarray]:
    """Cameras near ``EYE_M`` that look all around: (4, 4) camera to world."""
    rng = np.random.default_rng(0)
    eyes = EYE_M + rng.uniform(-0.4, 0.4, (n, 3))
    return [look_at(eye, eye + rng.normal(size=3) * [1, 1, 0.4]) for eye in eyes]
