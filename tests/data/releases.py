"""Small folders in the layout, and with the keys, of the published PanoRooms3D release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from roomseg.front3d_names import MERGED, NAMES
from roomseg.geometry.projection import panorama_hits

HOUSES = ("0a8d471a-2587-458a-9214-586e003e9cf9", "11cd9ca4-f345-4bfc-9d84-2d3d6a0dca12", "2e30b0f1")
WALL, FLOOR, CEILING, DOOR = (NAMES.index(name) for name in ("wallinner", "floor", "ceiling", "door"))
SHAPE = (38, 44, 36)  # its sides are more than 0.4 m from its middle: nothing blocks the view
MARGIN = 4  # voxels from the array's sides to the room's
COLORS = {WALL: (200, 180, 1), FLOOR: (0, 90, 255), CEILING: (255, 255, 255), DOOR: (3, 2, 1)}


def room_arrays() -> dict[str, np.ndarray]:
    """The inside of a box with a door, seen 5 voxels deep: what lies deeper, or in the middle, is empty."""
    i, j, k = place = np.indices(SHAPE)
    ends = np.array(SHAPE).reshape(3, 1, 1, 1) - 1 - MARGIN
    depth = np.minimum(place - MARGIN, ends - place).min(axis=0)  # voxels from the nearest side, + inside
    sdf = np.where(depth < -5, 1.0, np.clip(depth / 5, -1, 1)).astype(np.float32)
    label = np.full(SHAPE, WALL)
    label[k <= MARGIN + 1], label[k >= ends[2] - 1] = FLOOR, CEILING
    label[(j <= MARGIN + 1) & (i < 18) & (k > 6) & (k < 25)] = DOOR  # in one wall only: mirrored it is elsewhere
    red, green, blue = np.array([COLORS.get(raw, (0, 0, 0)) for raw in range(len(NAMES))]).T[:, label]
    return {"sdf128": sdf, "color128": (blue * 65536 + green * 256 + red).astype(np.float32), "semanticlabel": label}


def block_arrays() -> dict[str, np.ndarray]:
    return {
        "targetsdf128loc": np.array([(0, 0, 0), (1, 2, 3), (127, 127, 127), (5, 5, 5)]),
        "targetsdf128": np.array([0.0, -1.5, 3.0, -3.0], np.float32),
        "targetsdf128color": np.array([(0, 0.5, 1), (0.2, 0.4, 0.6), (1, 1, 1), (1, 1, 1)], np.float32),
        "semanticlabel": np.array([17, 20, 29, 8], np.uint8),
    }


def annotation(height: int = 64) -> np.ndarray:  # (height, 2 height) uint8, merged ids
    """What a camera in the middle of the room sees."""
    arrays = room_arrays()
    hits = panorama_hits(arrays["sdf128"], (np.array(SHAPE) - 1) / 2, height)
    return MERGED[arrays["semanticlabel"].reshape(-1)[hits.voxel]]


def save_npz(path: Path, arrays: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def save_panorama(root: Path, room: str, label: np.ndarray, rgb: np.ndarray | None = None) -> None:
    for folder, ending, picture in (
        ("images", "jpg", np.repeat(8 * label[..., None], 3, axis=2) if rgb is None else rgb),
        ("annotations", "png", label),
    ):
        (root / folder / "training").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / folder / "training" / f"{room}.{ending}")


def save_lists(folder: Path, **rooms: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        (folder / f"{split}.txt").write_text("".join(f"{room}\n" for room in rooms.get(split, [])))


def save_release(root: Path) -> Path:
    """Five rooms of three houses, the second house in two splits; all but the test room with a panorama."""
    first, second, third = HOUSES
    rooms = {"train": [f"{first}_12", f"{first}_3", f"{second}_0"], "val": [f"{second}_7"], "test": [f"{third}_1"]}
    save_lists(root / "lists", **rooms)
    for split, names in rooms.items():
        for room in names:
            save_npz(root / "rooms" / f"{room}.npz", room_arrays())
            if split != "test":
                save_panorama(root / "panoramas", room, annotation())
    save_npz(root / "blocks" / "train" / f"{first}_3_0.npz", block_arrays())
    save_npz(root / "blocks" / "val" / "anything.npz", block_arrays())
    return root
