"""A prediction as the 3D page shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from roomseg.geometry.mesh import face_areas, face_normals
from roomseg.geometry.surface import Surface
from roomseg.report.viewer import ViewedClass, ViewerContent, ViewerSurface, write_viewer
from roomseg.report.viewer.shading import free_normals, openness
from roomseg.stages.predicting.points import PointClasses
from roomseg.stages.predicting.result import Prediction

LONGEST_EDGE_M = 0.12  # on average: the faces of a coarser mesh are too large to be coloured by their corners
TRUNCATION_VOXELS = 5


def write_view(prediction: Prediction, summary: dict[str, Any], path: Path) -> None:
    write_viewer(view_of(prediction, summary), path)


def view_of(prediction: Prediction, summary: dict[str, Any]) -> ViewerContent:
    """The input's own surface, or the fused one where its faces are large."""
    given = prediction.given
    points = _in_metres(given.surface.points, given.to_room)
    if given.surface.is_cloud or _mean_edge_m(points, given.surface.faces) <= LONGEST_EDGE_M:
        surface = _shaded(prediction, Surface(points, given.surface.faces, given.surface.color), prediction.points)
    else:
        surface = _shaded(prediction, prediction.fused, prediction.fused_points)
    labels = prediction.labels
    return ViewerContent(
        title=given.name,
        facts=_facts(summary),
        surface=surface,
        classes=tuple(
            ViewedClass(c["id"], c["name"], labels.colors[c["id"]], c["area_m2"], c["share"], c["points"])
            for c in summary["classes"]
        ),
        warnings=given.warnings,
    )


def _facts(summary: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    given, confidence = summary["input"], summary["mean_confidence"]
    facts = [("surface", f"{summary['area_m2']:.0f} m\u00b2"), ("points", f"{given['points']:,}")]
    facts += [] if confidence is None else [("mean confidence", f"{confidence:.0%}")]
    return (*facts, ("voxels", f"{given['voxel_m'] * 100:g} cm"))


def _in_metres(points: np.ndarray, to_room: np.ndarray) -> np.ndarray:
    return points @ to_room[:3, :3].T + to_room[:3, 3]


def _mean_edge_m(points: np.ndarray, faces: np.ndarray) -> float:
    corner = points[faces]
    edges = np.linalg.norm(corner - np.roll(corner, 1, axis=1), axis=2)
    return float(np.average(edges.mean(axis=1), weights=np.maximum(face_areas(corner), 1e-12)))


def _shaded(prediction: Prediction, surface: Surface, classes: PointClasses) -> ViewerSurface:
    """What lies in the volume: strays outside it would only push the room away."""
    given = prediction.given
    places = (surface.points - given.origin_m) / given.voxel_m
    with np.errstate(invalid="ignore"):
        kept = ((places >= 0) & (places <= np.array(given.tsdf.shape) - 1)).all(axis=1)
    new_row = np.cumsum(kept) - 1
    faces = new_row[surface.faces[kept[surface.faces].all(axis=1)]] if not surface.is_cloud else surface.faces
    points, places = surface.points[kept], places[kept]
    normal = free_normals(given.tsdf, places)
    faces = _towards(points, faces, normal)
    normal = _filled(points, faces, normal)
    return ViewerSurface(
        points=points,
        faces=faces.astype(np.int32),
        color=surface.color[kept],
        label=classes.label[kept],
        confidence=None if classes.confidence is None else classes.confidence[kept],
        normal=normal,
        openness=openness(given.tsdf, places, normal, TRUNCATION_VOXELS),
    )


def _towards(points: np.ndarray, faces: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The faces turned so that their front is the free side, where the volume says which that is."""
    if not len(faces):
        return faces
    front = face_normals(points[faces])
    away = (front * normal[faces].sum(axis=1)).sum(axis=1) < 0
    return np.where(away[:, None], faces[:, ::-1], faces)


def _filled(points: np.ndarray, faces: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Where the volume knows no normal, that of the faces around the point."""
    unknown = np.abs(normal).sum(axis=1) == 0
    if not len(faces) or not unknown.any():
        return normal
    front = face_normals(points[faces])
    total = np.stack(
        [sum(np.bincount(faces[:, k], front[:, axis], len(points)) for k in range(3)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(unknown[:, None], total / np.maximum(length, 1e-12), normal).astype(np.float32)
