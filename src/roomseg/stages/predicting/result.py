"""What ``predict`` found, and its files: ``labeled.ply``, ``labels.npz`` and ``summary.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from roomseg import __version__
from roomseg.data.rooms import network_input
from roomseg.geometry.mesh import face_areas
from roomseg.geometry.surface import Surface
from roomseg.labels import VOID, LabelSet
from roomseg.stages.networks import told_of_the_room
from roomseg.stages.predicting.inputs import PredictInput
from roomseg.stages.predicting.models import LoadedModel
from roomseg.stages.predicting.points import Labeller, PointClasses

SINGLE_PRECISION = 1e-4  # metres that float32 may lose before coordinates are written as float64


@dataclass(frozen=True)
class Prediction:
    given: PredictInput
    labels: LabelSet
    points: PointClasses  # of the input's own points
    voxels: np.ndarray  # (X, Y, Z) uint8
    fused: Surface  # the volume's zero crossings, in metres
    fused_points: PointClasses
    area_m2: np.ndarray  # (K,) of each class

    @property
    def mean_confidence(self) -> float | None:
        confidence, known = self.points.confidence, self.points.label != VOID
        return None if confidence is None or not known.any() else float(confidence[known].mean())


def predict(given: PredictInput, model: LoadedModel) -> Prediction:
    """Classes of all voxels and of all points, and the area of each class."""
    with told_of_the_room(model.network, given.name, given.tsdf.shape):
        labeller = Labeller(model.network, network_input(given.as_room), given.tsdf)
        points = labeller.at(given.places(given.surface.points))
    fused = given.fused_surface
    fused_points = labeller.at((fused.points - given.origin_m) / given.voxel_m)
    if given.surface.is_cloud:  # points have no area; the surface that was fused from them has
        area = class_areas(fused, fused_points.label, len(model.labels))
    else:
        metres = given.surface.points @ given.to_room[:3, :3].T
        area = class_areas(replace(given.surface, points=metres), points.label, len(model.labels))
    return Prediction(given, model.labels, points, labeller.voxels, fused, fused_points, area)


def class_areas(surface: Surface, label: np.ndarray, classes: int) -> np.ndarray:  # (K,) m2
    """Each face's area goes in thirds to the classes of its corners."""
    corner = np.nan_to_num(surface.points)[surface.faces]
    area = face_areas(corner)
    return sum((np.bincount(label[surface.faces[:, k]], area / 3, classes) for k in range(3)), np.zeros(classes))


def write_files(prediction: Prediction, summary: dict[str, Any], folder: Path) -> None:
    write_ply(prediction, folder / "labeled.ply")
    write_npz(prediction, folder / "labels.npz")
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


def write_npz(prediction: Prediction, path: Path) -> None:
    """``label`` and ``confidence`` of the input's points, in their order; the volume and where it lies."""
    given, confidence = prediction.given, prediction.points.confidence
    arrays = {
        "label": prediction.points.label,
        "classes": np.array(prediction.labels.names),
        "colors": np.array(prediction.labels.colors, np.uint8),
        "voxel_label": prediction.voxels,
        "voxel_tsdf": given.tsdf,
        "origin_m": given.origin_m,
        "voxel_m": np.array(given.voxel_m),
        "to_room": given.to_room,
    }
    np.savez_compressed(path, **arrays, **({} if confidence is None else {"confidence": confidence}))  # type: ignore[arg-type]


def write_ply(prediction: Prediction, path: Path) -> None:
    """The input's points and faces, coloured by class, with ``label`` and ``confidence`` as properties."""
    surface, points = prediction.given.surface, prediction.points
    single = np.nanmax(np.abs(surface.points - surface.points.astype(np.float32)), initial=0) < SINGLE_PRECISION
    number = "<f4" if single else "<f8"
    fields = [("x", number), ("y", number), ("z", number), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    fields += [("label", "u1")] if points.confidence is None else [("label", "u1"), ("confidence", "<f4")]
    vertex = np.empty(len(surface.points), fields)
    for axis, values in zip("xyz", surface.points.T, strict=True):
        vertex[axis] = values
    for channel, values in zip(
        ("red", "green", "blue"), np.array(prediction.labels.colors, np.uint8)[points.label].T, strict=True
    ):
        vertex[channel] = values
    vertex["label"] = points.label
    if points.confidence is not None:
        vertex["confidence"] = points.confidence
    face = np.empty(len(surface.faces), [("n", "u1"), ("corners", "<i4", 3)])
    face["n"], face["corners"] = 3, surface.faces
    kinds = {"<f4": "float", "<f8": "double", "u1": "uchar"}
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment roomseg {__version__}: label is a class of {prediction.labels.name}",
        *(f"comment class {n} {label}" for n, label in enumerate(prediction.labels.names)),
        f"element vertex {len(vertex)}",
        *(f"property {kinds[kind]} {field}" for field, kind in fields),
        *([] if surface.is_cloud else [f"element face {len(face)}", "property list uchar int vertex_indices"]),
        "end_header\n",
    ]
    path.write_bytes("\n".join(header).encode() + vertex.tobytes() + (b"" if surface.is_cloud else face.tobytes()))


def summary_of(prediction: Prediction, model: LoadedModel, seconds: dict[str, float]) -> dict[str, Any]:
    """JSON types: the model, what was found out about the input, and for each class its share, points and area."""
    given, label, labels = prediction.given, prediction.points.label, prediction.labels
    count = np.bincount(label, minlength=len(labels))
    total_m2 = float(prediction.area_m2[VOID + 1 :].sum())
    classes = [
        {
            "id": int(k),
            "name": labels.names[k],
            "color": "#{:02x}{:02x}{:02x}".format(*labels.colors[k]),
            "points": int(count[k]),
            "share": round(float(prediction.area_m2[k]) / total_m2, 4) if total_m2 else 0.0,  # of the area
            "area_m2": round(float(prediction.area_m2[k]), 3),
        }
        for k in np.argsort(-prediction.area_m2, kind="stable")
        if k != VOID and count[k]
    ]
    confidence = prediction.mean_confidence
    return {
        "input": {
            "name": given.name,
            "kind": given.kind,
            "points": len(label),
            "faces": len(given.surface.faces),
            "volume_voxels": list(given.tsdf.shape),
            "voxel_m": given.voxel_m,
            **{name.replace(" ", "_"): value for name, value in given.facts},
        },
        "model": {"from": model.where, "network": model.card.network, "labels": labels.name},
        "area_m2": round(total_m2, 2),
        "unlabelled_points": int(count[VOID]),
        "mean_confidence": None if confidence is None else round(confidence, 4),
        "classes": classes,
        "warnings": list(given.warnings),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "roomseg": __version__,
    }
