"""ScanNet's ``.sens`` files, version 4: a header, then frames one after the other, each a pose and two payloads.

Frames are found by seeking from one head to the next; a payload is read and decoded only when it is asked for. Every
length is held against what is left of the file, and against what the image can need, before anything is read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NoReturn

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.images import MAX_SIDE_PX, Size, decode_color

VERSION = 4
COLOR_KINDS = {0: "raw", 1: "png", 2: "jpeg"}
DEPTH_KINDS = {0: "raw", 1: "zlib", 2: "occipital"}
MATRICES = ("colour intrinsic", "colour extrinsic", "depth intrinsic", "depth extrinsic")
MAX_NAME_BYTES = 4096
MAX_FRAMES = 1_000_000  # 9 hours at 30 frames a second
SLACK_BYTES = 2**20  # of a payload over the plain pixels
_FRAME_HEAD = struct.Struct("<16f4Q")


@dataclass(frozen=True)
class SensHeader:
    sensor_name: str
    color_intrinsic: np.ndarray  # (4, 4) float64, pixel centres at whole numbers
    depth_intrinsic: np.ndarray  # (4, 4)
    depth_extrinsic: np.ndarray  # (4, 4) depth camera to colour camera
    color_kind: str
    depth_kind: str
    color_size: Size
    depth_size: Size
    depth_units_per_m: float
    n_frames: int
    first_frame_at: int  # byte


@dataclass(frozen=True)
class SensFrame:
    """Where a frame lies in its file; ``pose`` is the depth camera's, camera to world, -inf where it was lost."""

    index: int
    pose: np.ndarray  # (4, 4) float64
    color_at: int
    color_bytes: int
    depth_at: int
    depth_bytes: int


class _Reader:
    """Reads forward; each field is checked against the end of the file first."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path, self.file = path, file
        self.end = path.stat().st_size

    @property
    def left(self) -> int:
        return self.end - self.file.tell()

    def take(self, layout: str | struct.Struct, field: str) -> tuple:
        layout = struct.Struct("<" + layout) if isinstance(layout, str) else layout
        return layout.unpack(self.bytes(layout.size, field))

    def bytes(self, n: int, field: str) -> bytes:
        if n > self.left:
            self.fail(field, f"takes {n} bytes, the file has {self.left} left", "a whole file: download it again")
        return self.file.read(n)

    def fail(self, field: str, got: str, expected: str) -> NoReturn:
        raise UserError(f"{self.path}: {field}: {got}; expected {expected}")


def read_header(path: Path) -> SensHeader:
    """Raises ``UserError``, naming the field, for anything that is no .sens of version 4 that can be decoded."""
    with _open(path) as file:
        reader = _Reader(path, file)
        name = _name(reader)
        color_lens, _, depth_lens, to_color = (_matrix(reader, field) for field in MATRICES)
        color_kind = _kind(reader, "colour compression", COLOR_KINDS)
        depth_kind = _kind(reader, "depth compression", DEPTH_KINDS)
        if depth_kind == "occipital":
            reader.fail("depth compression", "got 2, occipital, a closed format", "0 or 1: export it with zlib depth")
        color_size, depth_size = _size(reader, "colour size"), _size(reader, "depth size")
        (shift,) = reader.take("f", "depth shift")
        if not 1 <= shift <= 1e6:
            reader.fail("depth shift", f"got {shift}", "1 to 1,000,000 units a metre, usually 1000")
        (n_frames,) = reader.take("Q", "frame count")
        if n_frames > min(MAX_FRAMES, reader.left // _FRAME_HEAD.size):
            reader.fail("frame count", f"got {n_frames}, the file has {reader.left} bytes left", "no more than fit")
        return SensHeader(
            sensor_name=name,
            color_intrinsic=color_lens,
            depth_intrinsic=depth_lens,
            depth_extrinsic=to_color,
            color_kind=color_kind,
            depth_kind=depth_kind,
            color_size=color_size,
            depth_size=depth_size,
            depth_units_per_m=shift,
            n_frames=n_frames,
            first_frame_at=file.tell(),
        )


def _name(reader: _Reader) -> str:
    (version,) = reader.take("I", "version")
    if version != VERSION:
        reader.fail("version", f"got {version}", f"{VERSION}: export the scan with ScanNet's own tools")
    (length,) = reader.take("Q", "length of the sensor's name")
    if length > MAX_NAME_BYTES:
        reader.fail("length of the sensor's name", f"got {length}", f"at most {MAX_NAME_BYTES}")
    return reader.bytes(length, "sensor's name").decode("utf-8", errors="replace")


def _matrix(reader: _Reader, field: str) -> np.ndarray:  # (4, 4) float64
    return np.array(reader.take("16f", field)).reshape(4, 4)


def _open(path: Path) -> FileIO:
    try:
        return FileIO(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a .sens file: download it again") from None


def _kind(reader: _Reader, field: str, kinds: dict[int, str]) -> str:
    (code,) = reader.take("i", field)
    if code not in kinds:
        reader.fail(field, f"got {code}", ", ".join(f"{n} ({kind})" for n, kind in kinds.items()))
    return kinds[code]


def _size(reader: _Reader, field: str) -> Size:
    width, height = reader.take("2I", field)
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        reader.fail(field, f"got {width} x {height}", f"1 to {MAX_SIDE_PX} a side")
    return width, height


def read_frames(path: Path, header: SensHeader, stride: int = 1) -> Iterator[SensFrame]:
    """Every ``stride``-th frame, without its pictures. All heads are read, so a file cut short raises ``UserError``."""
    most_color, most_depth = (_most_bytes(size, n) for size, n in ((header.color_size, 3), (header.depth_size, 2)))
    with _open(path) as file:
        reader = _Reader(path, file)
        file.seek(header.first_frame_at)
        for index in range(header.n_frames):
            *pose, _, _, color_bytes, depth_bytes = reader.take(_FRAME_HEAD, f"frame {index}: pose, times and sizes")
            color_at = _skip(reader, f"frame {index}: colour", color_bytes, most_color)
            depth_at = _skip(reader, f"frame {index}: depth", depth_bytes, most_depth)
            if index % stride == 0:
                matrix = np.array(pose).reshape(4, 4)
                yield SensFrame(index, matrix, color_at, color_bytes, depth_at, depth_bytes)


def _most_bytes(size: Size, bytes_per_pixel: int) -> int:
    return 2 * size[0] * size[1] * bytes_per_pixel + SLACK_BYTES


def _skip(reader: _Reader, field: str, n: int, most: int) -> int:
    """Pass over a payload; returns where it began."""
    if n > reader.left:
        reader.fail(field, f"takes {n} bytes, the file has {reader.left} left", "a whole file: download it again")
    if n > most:
        reader.fail(field, f"takes {n} bytes", f"at most {most} for such an image: download it again")
    at = reader.file.tell()
    reader.file.seek(n, 1)
    return at


def read_color(path: Path, header: SensHeader, frame: SensFrame) -> np.ndarray:  # (H, W, 3) uint8
    """Raises ``UserError``, naming the frame."""
    where = f"{path}: frame {frame.index}: colour"
    data = _payload(path, where, frame.color_at, frame.color_bytes)
    if header.color_kind != "raw":
        return decode_color(data, where, header.color_size)
    width, height = header.color_size
    _check_length(data, 3 * width * height, where)
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def read_depth(path: Path, header: SensHeader, frame: SensFrame) -> np.ndarray:  # (H, W) uint16
    """Values along the optical axis, 0 = none, ``depth_units_per_m`` to a metre. Raises ``UserError``."""
    where = f"{path}: frame {frame.index}: depth"
    data = _payload(path, where, frame.depth_at, frame.depth_bytes)
    width, height = header.depth_size
    if header.depth_kind == "zlib":
        data = _inflated(data, 2 * width * height, where)
    _check_length(data, 2 * width * height, where)
    return np.frombuffer(data, "<u2").reshape(height, width)


def _payload(path: Path, where: str, at: int, n: int) -> bytes:
    with _open(path) as file:
        file.seek(at)
        data = file.read(n)
    if len(data) != n:
        raise UserError(f"{where}: got {len(data)} bytes of {n}; expected a whole file: download it again")
    return data


def _inflated(data: bytes, most: int, where: str) -> bytes:
    """At most ``most`` bytes, whatever the payload would grow to."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, most)
        more = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise UserError(f"{where}: {error}; expected a zlib stream: download the file again") from None
    if more or not stream.eof:
        state = f"more than {most} bytes" if more else f"{len(plain)} bytes and no end"
        raise UserError(f"{where}: inflates to {state}; expected {most}: download the file again")
    return plain


def _check_length(data: bytes, expected: int, where: str) -> None:
    if len(data) != expected:
        raise UserError(f"{where}: got {len(data)} bytes of pixels; expected {expected}: download the file again")
