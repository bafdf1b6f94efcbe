"""Every reader of files that come from elsewhere, with a good file of its kind."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from safetensors.numpy import save as save_safetensors

from roomseg.commands.runs import runs
from roomseg.config import parse_section
from roomseg.data import index
from roomseg.data.panorooms3d import read_room
from roomseg.data.shards import ShardFile, write_shard
from roomseg.labels import LabelSet, label_set
from roomseg.models.weight_files import read_variant, read_weights
from roomseg.npz import read_arrays
from roomseg.profiles import demo
from roomseg.runtime.artifacts import StoreArtifactReader
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.run_record import Note, summarise_run
from roomseg.runtime.storage import DirectoryStore
from roomseg.scenes.front3d.house import parse_house
from roomseg.scenes.obj import decode_texture, parse_mtl, parse_obj
from roomseg.scenes.scans.images import decode_color, decode_depth, decode_ids
from roomseg.scenes.scans.label_file import read_label_file
from roomseg.scenes.scans.sens import read_color, read_depth, read_frames, read_header
from roomseg.scenes.scans.textfiles import read_json, read_matrix
from roomseg.scenes.sh3f import load_model, read_catalogue
from roomseg.scenes.user_scan.read import read_user_scan
from tests.data.rooms import small_room
from tests.faults.mutations import mutated, mutated_zip
from tests.scenes.front3d.houses import house_json
from tests.scenes.libraries import BLOCK_MTL, BLOCK_OBJ, catalogue, item, write_library
from tests.scenes.scans.box_room import takes, two_camera_rig
from tests.scenes.scans.recordings import write_sens

SIZE = (32, 16)
LABEL_FILE = 'name = "robot"\nvoid = [0]\n[[class]]\nname = "floor"\ncolor = "#98df8a"\nids = [3, 5]\nshell = true\n'
OWN_LABELS = LabelSet("robot", ("void", "floor"), ((0, 0, 0), (152, 223, 138)), ("floor",))


@dataclass(frozen=True)
class Reader:
    make: Callable[[Path], None]  # a good file
    read: Callable[[Path], object]
    mutate: Callable[[bytes, int], bytes] = mutated
    suffix: str = ""


def picture(kind: str, values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(values).save(path, kind)


def text(content: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(content)

    return write


def make_sens(path: Path) -> None:
    rig = two_camera_rig()
    write_sens(path, rig, takes(rig, 2), "png", "zlib")


def read_sens(path: Path) -> None:
    header = read_header(path)
    for frame in read_frames(path, header):
        read_color(path, header, frame)
        read_depth(path, header, frame)


def make_sh3f(path: Path) -> None:
    write_library(path, catalogue([item("/b/b.obj", 10, 20, 30)]), {"b/b.obj": BLOCK_OBJ, "b/b.mtl": BLOCK_MTL})


def read_sh3f(path: Path) -> None:
    for entry in read_catalogue(path).entries:
        load_model(path, entry, 3)


def make_shard(path: Path) -> None:
    write_shard([small_room(0), small_room(1)], path)


def read_shard(path: Path) -> None:
    shard = ShardFile(path)
    for row in range(len(shard)):
        shard.id_and_shape(row)
        for view in shard.room(row).panoramas:
            np.asarray(view.rgb), np.asarray(view.label)


def make_index(path: Path) -> None:
    shard = path.with_suffix(".shard")
    index.write_index([("rooms/train-00000.parquet", write_shard([small_room(0), small_room(1)], shard))], path)


def make_room_npz(path: Path) -> None:
    tsdf = np.full((8, 8, 8), 1.0, np.float32)
    with path.open("wb") as file:
        np.savez_compressed(file, tsdf=tsdf, rgb=np.zeros((8, 8, 8, 3), np.uint8), label=np.zeros((8, 8, 8), np.uint8))


def make_checkpoint(path: Path) -> None:
    torch.save({"model": {"w": torch.ones(3, 4), "b": torch.zeros(2)}}, path)


def read_checkpoint(path: Path) -> None:
    """A state whose manifest says that its bytes are right: what an attacker, or a bug, would write."""
    store = DirectoryStore(path.parent / "store")
    data, folder = path.read_bytes(), "checkpoints/teacher/f/step-00000001"
    record = {"step": 1, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    store.put_bytes(f"{folder}/state.pt", data)
    store.put_bytes(f"{folder}/manifest.json", json.dumps(record).encode())
    StoreCheckpoints(store, "teacher", "f", path.parent / "scratch", lambda _: None).latest()


def manifest_text() -> str:
    entry = {"name": "a", "key": "shards/aa/a", "size": 3, "sha256": "a" * 64}
    made = {"stage": "render", "fingerprint": "f", "code_version": "", "config": {"a": [1]}, "parents": {}}
    return Manifest(**made, files=(entry,), scores={"m": 0.5}, seconds=1, attempts=1, created="2026").to_json()


def read_manifest_and_files(path: Path) -> None:
    """Also the files that it names: none may lie outside the store."""
    manifest = Manifest.from_json(path.read_bytes(), str(path))
    reader = StoreArtifactReader(DirectoryStore(path.parent / "store"), manifest, path.parent / "cache")
    for name in reader.names():
        reader.path(name)


def note_text() -> str:
    where = {"stage": "render", "manifest": "artifacts/render/f/manifest.json", "digest": "d"}
    return Note(**where, seconds=1.5, attempts=2, scores={"miou": 0.5, "loss": None}).model_dump_json()


def read_run_note(path: Path) -> None:
    """As ``roomseg runs`` shows it, and as the end of a run puts it into its summary."""
    store = DirectoryStore(path.parent / "noted")
    store.put_bytes("runs/demo/stages/render-f.json", path.read_bytes())
    summarise_run(store, "demo", "FAILED", "")
    for as_json in (False, True):
        runs(store.url, as_json)


def read_section(path: Path) -> None:
    parse_section("render", path.read_bytes().decode("utf-8", "replace"))


def lists(path: Path) -> None:
    index.read_split(path, "train")


RGB = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
DEPTH = np.random.default_rng(1).integers(0, 5000, (SIZE[1], SIZE[0])).astype(np.uint16)
WEIGHTS = {"w": np.ones((3, 4), np.float32), "b": np.zeros(2, np.float32)}


def make_flax(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{"embedding/kernel": np.ones((2, 2, 3, 4), np.float32), "cls": np.ones(4, np.float32)})


def make_scan(path: Path) -> None:
    box = trimesh.creation.box()
    box.visual = trimesh.visual.ColorVisuals(box, vertex_colors=np.arange(32, dtype=np.uint8).reshape(8, 4))
    box.export(path)


def make_textured_glb(path: Path) -> None:
    box = trimesh.creation.box()
    image = Image.fromarray(RGB)
    box.visual = trimesh.visual.TextureVisuals(uv=np.linspace(0, 1, 16).reshape(8, 2), image=image)
    box.export(path)


def make_ascii_ply(path: Path) -> None:
    scan = trimesh.creation.box()
    scan.visual = trimesh.visual.ColorVisuals(scan, vertex_colors=np.arange(32, dtype=np.uint8).reshape(8, 4))
    path.write_bytes(scan.export(file_type="ply", encoding="ascii"))


READERS = {
    "scan ply": Reader(make_scan, read_user_scan, suffix=".ply"),
    "scan ascii ply": Reader(make_ascii_ply, read_user_scan, suffix=".ply"),
    "scan obj": Reader(make_scan, read_user_scan, suffix=".obj"),
    "scan glb": Reader(make_scan, read_user_scan, suffix=".glb"),
    "scan textured glb": Reader(make_textured_glb, read_user_scan, suffix=".glb"),
    "sens": Reader(make_sens, read_sens),
    "sh3f": Reader(make_sh3f, read_sh3f, mutated_zip),
    "obj": Reader(text(BLOCK_OBJ), lambda p: parse_obj(p.read_bytes(), {}, lambda _: None)),
    "mtl": Reader(text(BLOCK_MTL + "map_Kd -s 1 1 1 wood.png\n"), lambda p: parse_mtl(p.read_bytes())),
    "house": Reader(text(json.dumps(house_json())), lambda p: parse_house(p, p.read_bytes())),
    "npz": Reader(make_room_npz, lambda p: read_arrays(p, ["tsdf", "rgb"], 10_000), mutated_zip),
    "room npz": Reader(make_room_npz, read_room, mutated_zip),
    "shard": Reader(make_shard, read_shard),
    "index": Reader(make_index, lists),
    "png": Reader(picture("PNG", RGB), lambda p: decode_color(p.read_bytes(), str(p), SIZE)),
    "jpeg": Reader(picture("JPEG", RGB), lambda p: decode_color(p.read_bytes(), str(p), SIZE)),
    "depth": Reader(picture("PNG", DEPTH), lambda p: decode_depth(p.read_bytes(), str(p), SIZE)),
    "ids": Reader(picture("PNG", RGB[..., 0]), lambda p: decode_ids(p.read_bytes(), str(p))),
    "texture": Reader(picture("PNG", RGB), lambda p: decode_texture(p.read_bytes())),
    "state": Reader(make_checkpoint, read_checkpoint),
    "weights pth": Reader(make_checkpoint, read_weights, mutated_zip, ".pth"),
    "weights npz": Reader(make_flax, read_weights, mutated_zip, ".npz"),
    "weights safetensors": Reader(
        lambda path: path.write_bytes(save_safetensors(WEIGHTS)) and None, read_weights, suffix=".safetensors"
    ),
    "variant": Reader(text("net_kwargs:\n  n_cls: 30\n  sizes: !!python/tuple [1, 2]\n"), read_variant),
    "manifest": Reader(text(manifest_text()), read_manifest_and_files),
    "run note": Reader(text(note_text()), read_run_note),
    "section": Reader(text(demo().render.model_dump_json()), read_section),
    "label file": Reader(text(LABEL_FILE), read_label_file),
    "label set": Reader(text(OWN_LABELS.text), lambda p: label_set(p.read_text(errors="replace"))),
    "matrix": Reader(text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"), read_matrix),
    "json": Reader(text('{"intrinsic_matrix": [1, 0.5, null]}'), read_json),
}


def png_bytes(width: int, height: int) -> bytes:
    """A picture of one colour: small as a file, large when it is decoded."""
    made = io.BytesIO()
    Image.new("L", (width, height)).save(made, "PNG")
    return made.getvalue()
