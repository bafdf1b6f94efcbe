"""Writers of the layouts that recordings come in, from their descriptions, byte by byte where there are bytes."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from roomseg.scenes.scans.registration import Rig
from tests.scenes.scans.box_room import COLOR_LENS, DEPTH_LENS, Take

LOST = np.full((4, 4), -np.inf)
TABLE = (
    "id\traw_category\tcategory\tcount\tnyu40id\teigen13id\n"
    "1\twall\twall\t8277\t1\t12\n"
    "3\tfloor\tfloor\t1553\t2\t5\n"
    "4\ttable\ttable\t1170\t7\t10\n"
    "41\tceiling\tceiling\t806\t22\t3\n"
    "1163\tobject\tobject\t1\t40\t7\n"
    "1164\tnothing known\tobject\t1\t\t\n"
    "1165\tdining table\ttable\t40\t7\t10\n"
)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **({"quality": 98, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


def save(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def matrix_text(matrix: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:.6f}" for value in row) for row in matrix) + "\n"


def four(matrix: np.ndarray) -> np.ndarray:  # (3, 3) -> (4, 4)
    big = np.eye(4)
    big[:3, :3] = matrix
    return big


def sens_header(
    rig: Rig, n: int, color_kind: int, depth_kind: int, version: int = 4, shift: float = 1000.0, name: bytes = b"Sensor"
) -> bytes:
    matrices = [four(COLOR_LENS), np.eye(4), four(DEPTH_LENS), rig.depth_to_color]
    return b"".join(
        [
            struct.pack("<IQ", version, len(name)) + name,
            *(matrix.astype("<f4").tobytes() for matrix in matrices),
            struct.pack("<2i", color_kind, depth_kind),
            struct.pack("<4I", rig.color.width, rig.color.height, rig.depth.width, rig.depth.height),
            struct.pack("<fQ", shift, n),
        ]
    )


def sens_frame(pose: np.ndarray, color: bytes, depth: bytes) -> bytes:
    head = pose.astype("<f4").tobytes() + struct.pack("<4Q", 10, 20, len(color), len(depth))
    return head + color + depth


def write_sens(
    path: Path, rig: Rig, frames: Sequence[Take], color: str = "jpeg", depth: str = "zlib", lost: Sequence[int] = ()
) -> Path:
    """``lost`` frames have a pose of -inf."""
    parts = [sens_header(rig, len(frames), {"raw": 0, "png": 1, "jpeg": 2}[color], {"raw": 0, "zlib": 1}[depth])]
    for i, take in enumerate(frames):
        picture = take.rgb.tobytes() if color == "raw" else encoded(take.rgb, color.upper())
        plain = take.depth_mm.astype("<u2").tobytes()
        parts.append(
            sens_frame(LOST if i in lost else take.pose, picture, zlib.compress(plain) if depth == "zlib" else plain)
        )
    imu = struct.pack("<Q", 2) + bytes(2 * 128)
    return save(path, b"".join(parts) + imu)


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_scan(root: Path, scan: str, rig: Rig, frames: Sequence[Take], info: str = "", **options: object) -> Path:
    """A scan as ScanNet releases it: .sens, label zip of ScanNet's ids and .txt."""
    folder = root / scan
    write_sens(folder / f"{scan}.sens", rig, frames, **options)  # type: ignore[arg-type]
    labels = {f"label-filt/{i}.png": encoded(take.ids.astype(np.uint16)) for i, take in enumerate(frames)}
    write_zip(folder / f"{scan}_2d-label-filt.zip", {"label-filt/": b"", **labels})
    save(folder / f"{scan}.txt", info)
    return folder


def write_scannet_export(folder: Path, rig: Rig, frames: Sequence[Take], every: int = 1) -> Path:
    """As the exporter in Python."""
    for i, take in enumerate(frames):
        save(folder / "color" / f"{i * every}.jpg", encoded(take.rgb, "JPEG"))
        save(folder / "depth" / f"{i * every}.png", encoded(take.depth_mm))
        save(folder / "pose" / f"{i * every}.txt", matrix_text(take.pose))
    matrices = (four(COLOR_LENS), np.eye(4), four(DEPTH_LENS), rig.depth_to_color)
    names = ("intrinsic_color", "extrinsic_color", "intrinsic_depth", "extrinsic_depth")
    for name, matrix in zip(names, matrices, strict=True):
        save(folder / "intrinsic" / f"{name}.txt", matrix_text(matrix))
    return folder


def write_frames_25k(folder: Path, frames: Sequence[Take], nyu40: np.ndarray) -> Path:
    """As ``scannet_frames_25k``: every 100th frame, labels of 8 bits; ``nyu40`` (65536,) turns the ids into NYU's."""
    for i, take in enumerate(frames):
        save(folder / "color" / f"{100 * i:06d}.jpg", encoded(take.rgb, "JPEG"))
        save(folder / "depth" / f"{100 * i:06d}.png", encoded(take.depth_mm))
        save(folder / "pose" / f"{100 * i:06d}.txt", matrix_text(take.pose))
        save(folder / "label" / f"{100 * i:06d}.png", encoded(nyu40[take.ids].astype(np.uint8)))
    save(folder / "intrinsics_color.txt", matrix_text(four(COLOR_LENS)))
    save(folder / "intrinsics_depth.txt", matrix_text(four(DEPTH_LENS)))
    return folder


def pgm(depth: np.ndarray) -> bytes:
    height, width = depth.shape
    head = f"P5\n# data values are 16-bit each; depth shift is 1000\n{width} {height}\n65535\n"
    return head.encode() + depth.astype(">u2").tobytes()


def write_frame_files(folder: Path, rig: Rig, frames: Sequence[Take], kind: str) -> Path:
    """``info``: as ScanNet's exporter in C++, with ``_info.txt`` and PGM; ``7scenes``: PNG, no hole but 65535."""
    for i, take in enumerate(frames):
        stem = folder / f"frame-{i:06d}"
        save(
            stem.with_suffix(".color.jpg" if kind == "info" else ".color.png"),
            encoded(take.rgb, "PNG" if kind != "info" else "JPEG"),
        )
        save(stem.with_suffix(".pose.txt"), matrix_text(take.pose))
        if kind == "info":
            save(stem.with_suffix(".depth.pgm"), pgm(take.depth_mm))
        else:
            save(
                stem.with_suffix(".depth.png"),
                encoded(np.where(take.depth_mm == 0, 65535, take.depth_mm).astype(np.uint16)),
            )
    if kind == "info":
        named = {
            "ColorIntrinsic": four(COLOR_LENS),
            "DepthIntrinsic": four(DEPTH_LENS),
            "DepthExtrinsic": rig.depth_to_color,
        }
        lines = [f"m_calibration{name} = {' '.join(map(str, matrix.ravel()))} " for name, matrix in named.items()]
        save(folder / "_info.txt", "\n".join(["m_versionNumber = 4", "m_depthShift = 1000", *lines]))
    return folder


def write_tum(folder: Path, frames: Sequence[Take], poses_late_s: float = 0.004) -> Path:
    """Depth at 30 Hz, colour 5 ms after it, poses ``poses_late_s`` after it."""
    lists: dict[str, list[str]] = {name: ["# a comment"] for name in ("rgb", "depth", "groundtruth")}
    for i, take in enumerate(frames):
        time = 1305031102.175304 + i / 30
        save(
            folder / "depth" / f"{time:.6f}.png",
            encoded((5 * take.depth_mm.astype(np.uint32)).clip(0, 65535).astype(np.uint16)),
        )
        save(folder / "rgb" / f"{time + 0.005:.6f}.png", encoded(take.rgb))
        lists["depth"].append(f"{time:.6f} depth/{time:.6f}.png")
        lists["rgb"].append(f"{time + 0.005:.6f} rgb/{time + 0.005:.6f}.png")
        numbers = [time + poses_late_s, *take.pose[:3, 3], *quaternion(take.pose[:3, :3])]
        lists["groundtruth"].append(" ".join(f"{number:.7f}" for number in numbers))
    for name, lines in lists.items():
        save(folder / f"{name}.txt", "\n".join(lines) + "\n")
    return folder


def quaternion(rotation: np.ndarray) -> np.ndarray:  # (3, 3) -> x y z w
    values, vectors = np.linalg.eig(rotation)
    axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    cos = (np.trace(rotation) - 1) / 2
    sin = (
        0.5 * axis @ [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    half = np.arctan2(sin, cos) / 2
    return np.append(np.sin(half) * axis, np.cos(half))


def write_open3d(folder: Path, frames: Sequence[Take], trajectory: str = "log", lens: np.ndarray | None = None) -> Path:
    """``log``: as Redwood; ``json``: as Open3D's visualizer, with the ``lens``."""
    for i, take in enumerate(frames):
        save(folder / "color" / f"{i}.jpg", encoded(take.rgb, "JPEG"))
        save(folder / "depth" / f"{i}.png", encoded(take.depth_mm))
    if trajectory == "log":
        save(
            folder / "trajectory.log", "".join(f"{i} {i} {i + 1}\n{matrix_text(t.pose)}" for i, t in enumerate(frames))
        )
        return folder
    assert lens is not None
    height, width = frames[0].depth_mm.shape
    intrinsic = {"width": width, "height": height, "intrinsic_matrix": lens.T.ravel().tolist()}
    parameters = [
        {
            "class_name": "PinholeCameraParameters",
            "extrinsic": np.linalg.inv(t.pose).T.ravel().tolist(),
            "intrinsic": intrinsic,
        }
        for t in frames
    ]
    save(folder / "trajectory.json", json.dumps({"class_name": "PinholeCameraTrajectory", "parameters": parameters}))
    return folder
