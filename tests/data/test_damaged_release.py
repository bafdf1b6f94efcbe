"""Files that are not as the release describes them: the error names file and array, and what was expected."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roomseg.data.panorooms3d import PanoRooms3dSource, read_block, read_room
from roomseg.errors import UserError
from tests.data.releases import HOUSES, annotation, block_arrays, room_arrays, save_npz, save_panorama, save_release

Arrays = dict[str, np.ndarray]


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def claiming(shape: str, dtype: str = "<f4", more: bytes = b"") -> bytes:
    """An array file whose header says more than there is."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + more


def save_members(path: Path, **members: bytes) -> Path:
    whole = {name: npy(array) for name, array in room_arrays().items()} | members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in whole.items():
            archive.writestr(f"{name}.npy", data)
    return path


def refuses(read: Callable[[Path], object], path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"sdf128": claiming("(100000, 100000, 100000)")}, "sdf128: its header says 100000 x 100000 x 100000 values"),
        ({"sdf128": claiming("(10000, 10000, 2)")}, r"sdf128: its header says .*; expected at most 100,000,000"),
        ({"color128": claiming("(-1, 4, 4)")}, "color128: its header says -1 x 4 x 4 values"),
        ({"color128": claiming("(26, 30, 22)")}, "color128: has 0 bytes of values, its header says 68640"),
        ({"color128": claiming("(1,)", more=b"12345")}, "color128: has more than 4 bytes of values"),
        ({"sdf128": claiming("(1,)", "<f4" + " " * 20_000)}, "sdf128: damaged"),
        ({"sdf128": b"\x93NUMPY\x01\x00"}, "sdf128: damaged"),
        ({"sdf128": b"\x93NUMPY\x03\x00" + bytes(90)}, r"sdf128: is an array file of version \(3, 0\)"),
        ({"sdf128": b"not an array at all"}, "sdf128: damaged"),
        ({"sdf128": npy(np.array([["a"]]))}, "sdf128: holds <U1 values; expected numbers"),
        ({"sdf128": claiming("(1,)", "|O", b"\x80\x04cos\nsystem\n(S'x'\ntR.")}, "sdf128: holds Python objects"),
    ],
)
def test_arrays_that_are_none(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    refuses(read_room, save_members(tmp_path / "a_1.npz", **members), message)


def test_a_pickled_archive_is_not_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    arrays = room_arrays() | {"semanticlabel": np.array([Trap()], dtype=object)}
    refuses(read_room, save_npz(tmp_path / "a_1.npz", arrays), "semanticlabel: holds Python objects; expected numbers")
    assert not (tmp_path / "sprung").exists()


def test_archives_that_are_none(tmp_path: Path) -> None:
    whole = save_npz(tmp_path / "a_1.npz", room_arrays()).read_bytes()
    cut, turned, missing = (tmp_path / f"a_{n}.npz" for n in (2, 3, 4))
    cut.write_bytes(whole[: len(whole) // 2])
    refuses(read_room, cut, "damaged .*expected a whole .npz: get it again")
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 255
    turned.write_bytes(damaged)
    refuses(read_room, turned, "damaged")
    refuses(read_room, missing, r"damaged \(.*No such file")
    refuses(
        read_room, save_npz(tmp_path / "a_5.npz", {"sdf128": np.ones((2, 2, 2))}), "has no color128 and no semantic"
    )
    refuses(read_block, tmp_path / "a_1.npz", "has no targetsdf128loc and no targetsdf128 and no targetsdf128color")


def with_value(name: str, value: float, at: object = (0, 0, 0)) -> Callable[[Arrays], Arrays]:
    def changed(arrays: Arrays) -> Arrays:
        arrays[name] = arrays[name].astype(float)
        arrays[name][at] = value
        return arrays

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_value("sdf128", np.nan), r"sdf128: 1 of 60192 values are not in -1.001 to 1.001, NaN among them"),
        (with_value("sdf128", -3), r"sdf128: 1 of 60192 values are not in -1.001 to 1.001$"),
        (with_value("color128", 2**24), "color128: 1 of 60192 values are not in 0 to"),
        (with_value("color128", 0.5), "color128: has values such as 0.5; expected whole numbers"),
        (with_value("semanticlabel", 255), "semanticlabel: 1 of 60192 values are not in 0 to 98"),
        (with_value("semanticlabel", np.inf), "semanticlabel: 1 of 60192 values are not in 0 to 98"),
        (lambda a: a | {"sdf128": a["sdf128"].ravel()}, r"sdf128: has the shape \(60192,\); expected \(X, Y, Z\)"),
        (lambda a: a | {"sdf128": np.zeros((0, 4, 4))}, r"sdf128: has the shape \(0, 4, 4\)"),
        (
            lambda a: a | {"color128": a["color128"][1:]},
            r"color128: has the shape \(37, 44, 36\); expected \(38, 44, 36\)",
        ),
    ],
)
def test_values_of_a_room(tmp_path: Path, change: Callable[[Arrays], Arrays], message: str) -> None:
    refuses(read_room, save_npz(tmp_path / "a_1.npz", change(room_arrays())), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_value("targetsdf128loc", 128, (0, 0)), "targetsdf128loc: 1 of 12 values are not in 0 to 127"),
        (with_value("targetsdf128loc", -1, (3, 2)), "targetsdf128loc: 1 of 12 values are not in 0 to 127"),
        (with_value("targetsdf128", np.nan, 1), "targetsdf128: 1 of 4 values are not in -3.001 to 3.001, NaN among"),
        (with_value("targetsdf128color", 255, (0, 0)), "targetsdf128color: 1 of 12 values are not in -0.001 to 1.001"),
        (with_value("semanticlabel", 40, 0), "semanticlabel: 1 of 4 values are not in 0 to 29"),
        (
            lambda a: a | {"semanticlabel": a["semanticlabel"][:2]},
            r"semanticlabel: has the shape \(2,\); expected \(4,\)",
        ),
        (lambda a: a | {"targetsdf128": np.float32(0)}, r"targetsdf128loc: has the shape \(4, 3\); expected \(0, 3\)"),
    ],
)
def test_values_of_a_block(tmp_path: Path, change: Callable[[Arrays], Arrays], message: str) -> None:
    refuses(read_block, save_npz(tmp_path / "a.npz", change(block_arrays())), message)


@pytest.mark.parametrize(
    ("label", "rgb", "message"),
    [
        (
            annotation()[:, :64],
            None,
            r"annotations/training/.*\.png: is \(64, 64\) for a picture of \(64, 64\); expected H",
        ),
        (annotation(), np.zeros((32, 64, 3), np.uint8), r"is \(64, 128\) for a picture of \(32, 64\)"),
        (annotation() + 90, None, r"\.png: got class id 110; expected 0..29, or raw 0..98"),
    ],
)
def test_panoramas(tmp_path: Path, label: np.ndarray, rgb: np.ndarray | None, message: str) -> None:
    room = f"{HOUSES[0]}_3"
    save_panorama(save_release(tmp_path) / "panoramas", room, label.astype(np.uint8), rgb)
    source = PanoRooms3dSource(tmp_path)
    with pytest.raises(UserError, match=message):
        source.load(next(key for key in source.plan()[0] if key.id == room))
    (tmp_path / "panoramas" / "images" / "training" / f"{room}.jpg").write_bytes(b"\xff\xd8 cut")
    with pytest.raises(UserError, match=r"\.jpg: no whole JPEG picture"):
        source.load(next(key for key in source.plan()[0] if key.id == room))


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone is not a folder"):
        PanoRooms3dSource(tmp_path / "gone")
    save_npz(tmp_path / "rooms" / "a_1.npz", room_arrays())
    with pytest.raises(UserError, match=r"has no train\.txt, val.txt and test.txt: copy the published lists there"):
        PanoRooms3dSource(tmp_path).plan()
    with pytest.raises(UserError, match=r"has 1 rooms <house>_<n>.npz and 0 blocks, none to take as blocks"):
        PanoRooms3dSource(tmp_path, parts="blocks").plan()
