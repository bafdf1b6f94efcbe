"""The published PanoRooms3D release as a source of finished rooms: the same voxels, classes and panoramas.

What changes: the signed distance becomes int8 (within 1/254 of the truncation, empty stays exactly empty), packed
colours become bytes, the 99 raw classes the 30 merged ones. The arrays' frame has the house's y and z swapped.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from roomseg.data.release_files import BLOCK_FOLDERS, ROOM_ID, ReleaseFiles, find_files, labels_of
from roomseg.data.rooms import TSDF_STEPS, Panorama, Room
from roomseg.errors import UserError
from roomseg.front3d_names import MERGED
from roomseg.geometry.projection import panorama_hits
from roomseg.labels import PANOROOMS3D
from roomseg.npz import read_arrays
from roomseg.ports import Rejected, RoomKey
from roomseg.splits import SPLITS, read_published_split, split_by_house

VOXEL_M = 0.04
TRUNCATION_VOXELS = 5  # of the fusion code that the release comes with
MAX_VOXELS = 100_000_000
ROUNDING = 1e-3  # how far beyond [-1, 1] a distance may lie
BLOCK = 128
MAX_SIDE_PX = 8192
ROOM_KEYS = ("sdf128", "color128", "semanticlabel")
BLOCK_KEYS = ("targetsdf128loc", "targetsdf128", "targetsdf128color", "semanticlabel")
CREDITS = ("authors of 3D Segmenter, PanoRooms3D, 3D-FRONT Terms of Use (non-commercial)",)

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # tsdf int8, rgb uint8, label uint8, as ``Room`` has them
_BAD_PICTURE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class PanoRooms3dSource:
    """The release below ``root``; see ``release_files.py`` for how its files are found.

    ``split`` is "published" (the lists, where two thirds of the validation rooms share a house with training) or
    "house". ``parts`` is "rooms", or "blocks": the published cuts for pretraining, without panoramas and test split.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["published", "house"] = "published",
        parts: Literal["rooms", "blocks"] = "rooms",
        shares: tuple[float, float, float] = (0.9, 0.05, 0.05),  # of the houses, for the split by house
        seed: int = 0,
    ) -> None:
        if not root.is_dir():
            raise UserError(f"panorooms3d: {root} is not a folder; expected the unpacked release")
        self.root, self.split, self.parts, self.shares, self.seed = root, split, parts, shares, seed

    def plan(self) -> tuple[list[RoomKey], list[Rejected]]:
        """Looks at names only. Raises ``UserError`` where there are no rooms, or no lists for the published split."""
        strange = [
            Rejected(path, "neither <house>_<n>.npz nor in a folder train or val") for path in self._files.strange
        ]
        keys, rejected = self._plan_rooms() if self.parts == "rooms" else (self._block_keys(), [])
        if not keys:
            raise UserError(
                f"{self.root} has {len(self._files.rooms)} rooms <house>_<n>.npz and "
                f"{sum(map(len, self._files.blocks.values()))} blocks, none to take as {self.parts}; expected the "
                "unpacked PanoRooms3D release"
            )
        return keys, sorted([*strange, *rejected], key=lambda each: each.id)

    def load(self, key: RoomKey) -> Room:
        """Raises ``UserError``, naming file and field, for what is not as the release describes it."""
        path, picture = self.root / str(key.place[0]), str(key.place[1])
        tsdf, rgb, label = read_room(path) if self.parts == "rooms" else read_block(path)
        room = Room(
            id=key.id,
            house_id=key.house_id,
            split=key.split,
            origin_m=np.zeros(3),
            voxel_m=VOXEL_M,
            tsdf=tsdf,
            rgb=rgb,
            label=label,
            meta={"credits": list(CREDITS), "truncation_voxels": TRUNCATION_VOXELS},
        )
        return with_panorama(room, self.root / picture, self.root / labels_of(picture)) if picture else room

    def digest(self) -> str:
        return self._files.digest()

    @cached_property
    def _files(self) -> ReleaseFiles:
        return find_files(self.root)

    def _plan_rooms(self) -> tuple[list[RoomKey], list[Rejected]]:
        files, rejected = self._files, []
        if self.split == "house":
            of_house = split_by_house({_house(room) for room in files.rooms}, self.shares, self.seed)
            split_of = {room: of_house[_house(room)] for room in files.rooms}
        else:
            if files.lists is None:
                raise UserError(
                    f"{self.root} has no train.txt, val.txt and test.txt: copy the published lists there, or "
                    "--set render.panorooms3d_split=house"
                )
            split_of = read_published_split(files.lists)
            rejected = [
                *(Rejected(room, "in none of the published lists") for room in files.rooms if room not in split_of),
                *(
                    Rejected(room, f"in {split}.txt, but there is no {room}.npz")
                    for room, split in split_of.items()
                    if room not in files.rooms
                ),
            ]
        rooms = sorted(room for room in split_of if room in files.rooms)
        keys = [self._room_key(room, split) for split in SPLITS for room in rooms if split_of[room] == split]
        return keys, rejected

    def _room_key(self, room: str, split: str) -> RoomKey:
        return RoomKey(room, _house(room), split, (self._files.rooms[room], self._files.pictures.get(room, "")))

    def _block_keys(self) -> list[RoomKey]:
        """A block's name says nothing certain; what stands before a number in it is taken for its house."""
        keys = []
        for split in BLOCK_FOLDERS:
            for path in sorted(self._files.blocks[split]):
                stem = path.rpartition("/")[2].removesuffix(".npz")
                keys.append(RoomKey(f"{split}-{stem}", stem.partition("_")[0] or stem, split, (path, "")))
        return keys


def _house(room_id: str) -> str:
    match = ROOM_ID.fullmatch(room_id)
    return match[1] if match else room_id


# Voxels


def read_room(path: Path) -> Planes:  # (X, Y, Z), (X, Y, Z, 3), (X, Y, Z)
    """A published room; raises ``UserError`` that names the array for values that are none of the format's.

    What colours and classes say of empty voxels is not looked at: the published code drops it too, unread.
    """
    sdf, color, label = read_arrays(path, ROOM_KEYS, MAX_VOXELS)
    if sdf.ndim != 3 or sdf.size == 0:
        raise UserError(f"{path}: sdf128: has the shape {sdf.shape}; expected (X, Y, Z)")
    for name, array in (("color128", color), ("semanticlabel", label)):
        if array.shape != sdf.shape:
            raise UserError(f"{path}: {name}: has the shape {array.shape}; expected {sdf.shape} as sdf128")
    _check_range(sdf, -1 - ROUNDING, 1 + ROUNDING, f"{path}: sdf128")
    full = sdf < 1
    raw = _whole(np.where(full, label, 0), len(MERGED) - 1, f"{path}: semanticlabel")
    packed = _whole(np.where(full, color, 0), 2**24 - 1, f"{path}: color128")
    rgb = np.stack([packed & 255, packed >> 8 & 255, packed >> 16], axis=-1).astype(np.uint8)
    return _planes(sdf, rgb, MERGED[raw])


def read_block(path: Path) -> Planes:  # of (128, 128, 128) voxels
    """A published block: a list of its voxels that are not empty, with merged classes. Raises ``UserError``."""
    place, sdf, color, label = read_arrays(path, BLOCK_KEYS, 3 * BLOCK**3)
    n = len(sdf) if sdf.ndim else 0
    for name, array, shape in zip(BLOCK_KEYS, (place, sdf, color, label), ((n, 3), (n,), (n, 3), (n,)), strict=True):
        if array.shape != shape:
            raise UserError(f"{path}: {name}: has the shape {array.shape}; expected {shape} for {n} voxels")
    _check_range(sdf, -3 - ROUNDING, 3 + ROUNDING, f"{path}: targetsdf128")
    _check_range(color, -ROUNDING, 1 + ROUNDING, f"{path}: targetsdf128color")
    x, y, z = _whole(place, BLOCK - 1, f"{path}: targetsdf128loc").T
    merged = _whole(label, len(PANOROOMS3D) - 1, f"{path}: semanticlabel")
    shape = (BLOCK,) * 3
    distance, rgb, classes = np.ones(shape, np.float32), np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    distance[x, y, z] = sdf / -3
    rgb[x, y, z] = np.rint(255 * np.clip(color, 0, 1))
    classes[x, y, z] = merged
    return _planes(distance, rgb, classes)


def _planes(sdf: np.ndarray, rgb: np.ndarray, label: np.ndarray) -> Planes:
    """From the distance, 1 and more = empty. What is not quite empty must not become so by rounding."""
    full = sdf < 1
    steps = np.clip(np.rint(sdf * np.float32(TSDF_STEPS)), -TSDF_STEPS, TSDF_STEPS - 1)
    tsdf = np.where(full, steps, TSDF_STEPS).astype(np.int8)
    return tsdf, rgb * full[..., None], label * full


def _check_range(values: np.ndarray, low: float, high: float, where: str) -> None:
    if values.size and not (low <= values.min() and values.max() <= high):  # also not a number
        bad = int(np.count_nonzero(~((values >= low) & (values <= high))))
        nan = ", NaN among them" if np.isnan(values).any() else ""
        raise UserError(f"{where}: {bad} of {values.size} values are not in {low:.4g} to {high:.4g}{nan}")


def _whole(values: np.ndarray, high: int, where: str) -> np.ndarray:  # int64 or narrower, 0..high
    _check_range(values, 0, high, where)
    whole = values.astype(np.int32)
    if values.dtype.kind == "f" and (whole != values).any():
        raise UserError(f"{where}: has values such as {values[whole != values][0]:.6g}; expected whole numbers")
    return whole


# Panoramas


def with_panorama(room: Room, picture: Path, labels: Path) -> Room:
    """The room with its published panorama, taken at the middle of the array.

    Whether the release's pictures turn with the arrays is not documented, so it is measured: the voxels that the rays
    hit are compared with the annotation as it is and mirrored, and the better one is kept (``panorama_mirrored`` and
    ``panorama_agreement`` in the room's metadata). Its rays start and end half a pixel beside ours.
    """
    rgb, label = _picture(picture, "JPEG", "RGB"), _merged_annotation(_picture(labels, "PNG", None), labels)
    if rgb.shape[:2] != label.shape or label.shape[1] != 2 * label.shape[0]:
        raise UserError(f"{labels}: is {label.shape} for a picture of {rgb.shape[:2]}; expected H x 2H, alike")
    middle = (np.array(room.shape) - 1) / 2
    hits = panorama_hits(room.tsdf, middle, len(label))
    seen = np.where(hits.voxel >= 0, room.label.reshape(-1)[hits.voxel], 0)
    as_it_is, mirrored = _agreement(seen, label), _agreement(seen, label[:, ::-1])
    flip = slice(None, None, -1 if mirrored > as_it_is else 1)
    view = Panorama(
        room.origin_m + room.voxel_m * middle,
        np.ascontiguousarray(rgb[:, flip]),
        np.ascontiguousarray(label[:, flip]),
    )
    measured = {
        "hit_rate": round(hits.hit_rate, 4),
        "panorama_mirrored": mirrored > as_it_is,
        "panorama_agreement": round(max(as_it_is, mirrored), 4),
    }
    return replace(room, panoramas=(view,), meta={**room.meta, **measured})


def _agreement(seen: np.ndarray, label: np.ndarray) -> float:
    """Of the pixels where both know a class, the share where it is the same."""
    known = (seen > 0) & (label > 0)
    return float((seen[known] == label[known]).mean()) if known.any() else 0.0


def _merged_annotation(ids: np.ndarray, path: Path) -> np.ndarray:  # (H, 2H[, C]) -> (H, 2H) uint8
    """Of several channels the first. Ids are merged ones unless one is beyond them: then all are raw."""
    ids = (ids if ids.ndim == 2 else ids[..., 0]).astype(np.int32)
    highest = int(ids.max(initial=0))
    if highest >= len(MERGED):
        raise UserError(
            f"{path}: got class id {highest}; expected 0..{len(PANOROOMS3D) - 1}, or raw 0..{len(MERGED) - 1}"
        )
    return (MERGED[ids] if highest >= len(PANOROOMS3D) else ids).astype(np.uint8)


def _picture(path: Path, kind: str, mode: str | None) -> np.ndarray:
    try:
        with Image.open(path, formats=(kind,)) as image:
            if max(image.size) > MAX_SIDE_PX:
                raise UserError(f"{path}: is {image.width} x {image.height}; expected at most {MAX_SIDE_PX} a side")
            return np.asarray(image.convert(mode) if mode else image)
    except _BAD_PICTURE as error:
        raise UserError(f"{path}: no whole {kind} picture ({error}); get it again") from None
