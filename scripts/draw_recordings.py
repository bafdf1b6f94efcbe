"""Recordings to try docs/own-classes.md with: rooms of our generator, as a robot with a depth camera would bring them.

    python scripts/draw_recordings.py recordings

Each is a folder in the layout of Open3D's examples: color, depth and label pictures, a trajectory and the camera. The
ids of the label pictures are the robot's own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.generated import GeneratedSource
from roomseg.scenes.scene_room import SceneRoom
from roomseg.scenes.viewpoints import camera_poses

IDS = {"floor": 11, "wall": 12, "baseboard": 12, "wainscot": 12, "ceiling": 13, "door/window": 20}
IDS |= {"chair": 31, "sofa": 32, "stool": 33, "table": 40, "cabinet": 51, "wardrobe": 52}
OTHER = 90
CAMERA_HEIGHT_M = (1.0, 1.6)
MM = 1000


def draw_recordings(
    folder: Path, count: int, frames: int, camera: Pinhole, room_size_m: tuple[float, float], seed: int = 0
) -> None:
    """``room-01``, ``room-02``, ... in the folder; no furniture libraries are needed."""
    source = GeneratedSource(
        seed,
        {"train": count, "val": 0, "test": 0},
        rooms_per_house=1,
        room_types=("living_room", "office", "kitchen"),
        size_range_m=room_size_m,
        furniture=None,
    )
    for n, key in enumerate(source.plan()[0], 1):
        draw_recording(folder / f"room-{n:02d}", source.load(key), frames, camera, np.random.default_rng([seed, n]))


def draw_recording(folder: Path, room: SceneRoom, frames: int, camera: Pinhole, rng: np.random.Generator) -> None:
    mesh, poses = pack_mesh(room.mesh), camera_poses(room, frames, CAMERA_HEIGHT_M, rng)
    for name in ("color", "depth", "label"):
        (folder / name).mkdir(parents=True)
    for n, pose in enumerate(poses):
        frame = render_frame(mesh, camera, pose)
        Image.fromarray(frame.rgb).save(folder / "color" / f"{n:04d}.jpg", quality=92)
        Image.fromarray(np.rint(frame.depth * MM).astype(np.uint16)).save(folder / "depth" / f"{n:04d}.png")
        Image.fromarray(_ids()[frame.label]).save(folder / "label" / f"{n:04d}.png")
    rows = [
        f"{n} {n} {n + 1}\n" + "\n".join(" ".join(map(repr, row)) for row in p.tolist()) for n, p in enumerate(poses)
    ]
    (folder / "trajectory.log").write_text("\n".join(rows) + "\n")
    (folder / "camera.json").write_text(json.dumps(_lens(camera)))


def _ids() -> np.ndarray:  # (K,) uint8: class of ours -> id in the pictures
    names = PANOROOMS3D.names[1:]
    return np.array([0, *(IDS.get(name, OTHER) for name in names)], np.uint8)


def _lens(camera: Pinhole) -> dict:
    """As Open3D writes it: by columns, the centre of the first pixel at 0."""
    matrix = [camera.fx, 0, 0, 0, camera.fy, 0, camera.cx - 0.5, camera.cy - 0.5, 1]
    return {"width": camera.width, "height": camera.height, "intrinsic_matrix": matrix}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--frames", type=int, default=60, help="of each")
    given = parser.parse_args()
    draw_recordings(given.folder, given.count, given.frames, Pinhole.from_fov(320, 240, 75.0), (2.6, 3.4))


if __name__ == "__main__":
    main()
