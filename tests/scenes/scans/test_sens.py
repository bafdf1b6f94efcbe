"""Files of the .sens format, whole and damaged in every field."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.sens import SensFrame, read_color, read_depth, read_frames, read_header
from tests.scenes.scans.box_room import COLOR_LENS, COLOR_SIZE, DEPTH_LENS, DEPTH_SIZE, Take
from tests.scenes.scans.recordings import encoded, four, save, sens_frame, sens_header, write_sens

NAME = 4 + 8  # bytes before the sensor's name, which has 6
KINDS = NAME + 6 + 4 * 64
SIZES = KINDS + 8
SHIFT = SIZES + 16
COUNT = SHIFT + 4
FRAMES = COUNT + 8


def read_all(path: Path) -> list[tuple[SensFrame, np.ndarray, np.ndarray]]:
    header = read_header(path)
    return [(f, read_color(path, header, f), read_depth(path, header, f)) for f in read_frames(path, header)]


@pytest.mark.parametrize(("color", "depth"), [("raw", "raw"), ("png", "zlib"), ("jpeg", "zlib")])
def test_what_was_written_is_read(tmp_path: Path, rig: Rig, frames: list[Take], color: str, depth: str) -> None:
    path = write_sens(tmp_path / "a.sens", rig, frames, color, depth, lost=[2])
    header = read_header(path)
    assert (header.sensor_name, header.n_frames, header.depth_units_per_m) == ("Sensor", 4, 1000)
    assert (header.color_size, header.depth_size) == (COLOR_SIZE, DEPTH_SIZE)
    assert (header.color_kind, header.depth_kind) == (color, depth)
    np.testing.assert_allclose(header.color_intrinsic, four(COLOR_LENS), rtol=1e-6)
    np.testing.assert_allclose(header.depth_intrinsic, four(DEPTH_LENS), rtol=1e-6)
    np.testing.assert_allclose(header.depth_extrinsic, rig.depth_to_color, atol=1e-7)
    for i, (frame, rgb, depth_mm) in enumerate(read_all(path)):
        assert frame.index == i
        if i == 2:
            assert (frame.pose == -np.inf).all()
        else:
            np.testing.assert_allclose(frame.pose, frames[i].pose, atol=1e-6)
        np.testing.assert_array_equal(depth_mm, frames[i].depth_mm)
        assert np.abs(rgb.astype(int) - frames[i].rgb).mean() < (2 if color == "jpeg" else 1e-9)


def test_a_stride_seeks_over_what_it_leaves_out(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    broken = [sens_frame(np.eye(4), b"no picture", b"no stream")] * 7
    good = sens_frame(frames[0].pose, encoded(frames[0].rgb), zlib.compress(frames[0].depth_mm.tobytes()))
    broken[3] = good
    path = save(tmp_path / "a.sens", sens_header(rig, 7, 1, 1) + b"".join(broken))
    header = read_header(path)
    kept = list(read_frames(path, header, stride=3))
    assert [frame.index for frame in kept] == [0, 3, 6]
    np.testing.assert_array_equal(read_depth(path, header, kept[1]), frames[0].depth_mm)
    np.testing.assert_array_equal(read_color(path, header, kept[1]), frames[0].rgb)


@pytest.mark.parametrize(
    ("cut", "field"),
    [
        (0, "version"),
        (3, "version"),
        (7, "length of the sensor's name"),
        (NAME + 2, "sensor's name"),
        (NAME + 6 + 63, "colour intrinsic"),
        (NAME + 6 + 65, "colour extrinsic"),
        (NAME + 6 + 190, "depth intrinsic"),
        (NAME + 6 + 200, "depth extrinsic"),
        (KINDS + 2, "colour compression"),
        (KINDS + 6, "depth compression"),
        (SIZES + 5, "colour size"),
        (SIZES + 15, "depth size"),
        (SHIFT + 1, "depth shift"),
        (COUNT + 7, "frame count"),
        (FRAMES + 50, "frame count"),  # not even the heads fit
        (-1, "frame 1: depth"),
        (-9000, "frame 1: colour"),
    ],
)
def test_a_file_cut_short(tmp_path: Path, rig: Rig, frames: list[Take], cut: int, field: str) -> None:
    whole = write_sens(tmp_path / "a.sens", rig, frames[:2], "raw", "raw").read_bytes()[: -8 - 2 * 128]  # no IMU
    path = save(tmp_path / "cut.sens", whole[:cut])
    with pytest.raises(UserError, match=rf"cut\.sens: {field}: .*left"):
        read_all(path)


def test_a_file_that_ends_without_imu_frames_is_whole(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    whole = write_sens(tmp_path / "a.sens", rig, frames, "raw", "raw").read_bytes()
    assert len(read_all(save(tmp_path / "b.sens", whole[: -8 - 2 * 128]))) == 4


@pytest.mark.parametrize(
    ("at", "layout", "value", "message"),
    [
        (0, "<I", 3, "version: got 3; expected 4"),
        (4, "<Q", 2**63, "length of the sensor's name: got 9223372036854775808; expected at most 4096"),
        (KINDS, "<i", -1, r"colour compression: got -1; expected 0 \(raw\), 1 \(png\), 2 \(jpeg\)"),
        (KINDS + 4, "<i", 7, "depth compression: got 7"),
        (KINDS + 4, "<i", 2, "depth compression: got 2, occipital.*zlib"),
        (SIZES, "<I", 0, "colour size: got 0 x 72; expected 1 to 8192"),
        (SIZES + 12, "<I", 2**32 - 1, "depth size: got 64 x 4294967295"),
        (SHIFT, "<f", 0.0, "depth shift: got 0.0"),
        (SHIFT, "<f", float("nan"), "depth shift: got nan"),
        (COUNT, "<Q", 2**40, "frame count: got 1099511627776"),
        (FRAMES + 80, "<Q", 2**60, "frame 0: colour: takes 1152921504606846976 bytes"),
        (FRAMES + 88, "<Q", 2**60, "frame 0: depth: takes 1152921504606846976 bytes"),
    ],
)
def test_an_absurd_field(
    tmp_path: Path, rig: Rig, frames: list[Take], at: int, layout: str, value: float, message: str
) -> None:
    data = bytearray(write_sens(tmp_path / "a.sens", rig, frames).read_bytes())
    struct.pack_into(layout, data, at, value)
    with pytest.raises(UserError, match=message):
        read_all(save(tmp_path / "b.sens", bytes(data)))


def test_a_payload_far_larger_than_its_picture_is_refused_unread(tmp_path: Path, rig: Rig) -> None:
    data = sens_header(rig, 1, 2, 1) + sens_frame(np.eye(4), bytes(3 * 2**20), b"")
    with pytest.raises(UserError, match="frame 0: colour: takes 3145728 bytes; expected at most"):
        read_all(save(tmp_path / "a.sens", data))


def one_frame(folder: Path, rig: Rig, color: bytes, depth: bytes, kinds: tuple[int, int] = (1, 1)) -> Path:
    return save(folder / "a.sens", sens_header(rig, 1, *kinds) + sens_frame(np.eye(4), color, depth))


PIXELS = 2 * DEPTH_SIZE[0] * DEPTH_SIZE[1]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (zlib.compress(bytes(PIXELS + 1)), f"inflates to more than {PIXELS} bytes"),
        (zlib.compress(bytes(PIXELS - 2)), f"got {PIXELS - 2} bytes of pixels; expected {PIXELS}"),
        (zlib.compress(bytes(PIXELS))[:-6], "no end"),
        (zlib.compress(bytes(PIXELS))[:-1] + b"\xff", "frame 0: depth"),
        (b"\x00" * 40, "zlib"),
        (b"", "no end"),
    ],
)
def test_a_damaged_depth_stream(tmp_path: Path, rig: Rig, frames: list[Take], payload: bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"a\.sens: frame 0: depth: .*{message}|{message}"):
        read_all(one_frame(tmp_path, rig, encoded(frames[0].rgb), payload))


def test_any_length_of_stream_that_ends_right_is_read(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    """Noise and zeros at every level: the end of the stream must be found also where it is not read at once."""
    noise = np.random.default_rng(0).integers(0, 65536, PIXELS // 2).astype("<u2").tobytes()
    for plain in (noise, bytes(PIXELS), noise[: PIXELS // 2] + bytes(PIXELS // 2)):
        for level in range(10):
            path = one_frame(tmp_path, rig, encoded(frames[0].rgb), zlib.compress(plain, level))
            assert read_all(path)[0][2].tobytes() == plain


def test_a_bomb_costs_no_memory(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(bytes(2**20)) for _ in range(100)) + stream.flush()  # 100 MiB
    path = one_frame(tmp_path, rig, encoded(frames[0].rgb), bomb)
    tracemalloc.start()
    with pytest.raises(UserError, match="inflates to more than"):
        read_all(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_pictures_of_another_size_or_kind(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    depth = zlib.compress(frames[0].depth_mm.tobytes())
    with pytest.raises(UserError, match="frame 0: colour is 64 x 48; expected 96 x 72"):
        read_all(one_frame(tmp_path, rig, encoded(np.zeros((48, 64, 3), np.uint8), "JPEG"), depth, (2, 1)))
    with pytest.raises(UserError, match="frame 0: colour is no whole picture"):
        read_all(one_frame(tmp_path, rig, encoded(frames[0].rgb, "JPEG")[:300], depth, (2, 1)))
    with pytest.raises(UserError, match="frame 0: colour: got 100 bytes of pixels; expected 20736"):
        read_all(one_frame(tmp_path, rig, bytes(100), depth, (0, 1)))
    with pytest.raises(UserError, match=r"gone\.sens cannot be read"):
        read_header(tmp_path / "gone.sens")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, FRAMES + 96), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
    cut=st.none() | st.integers(0, FRAMES + 3000),
)
def test_any_bytes_give_frames_or_a_user_error(
    tmp_path: Path, rig: Rig, frames: list[Take], changes: list[tuple[int, bytes]], cut: int | None
) -> None:
    original = tmp_path / "original.sens"
    data = bytearray((original if original.exists() else write_sens(original, rig, frames[:2])).read_bytes())
    for at, value in changes:
        data[at : at + len(value)] = value
    path = save(tmp_path / "changed.sens", bytes(data[:cut]))
    tracemalloc.start()
    message = what_is_wrong(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert message is None or ("changed.sens" in message and "\n" not in message)


def what_is_wrong(path: Path) -> str | None:
    try:
        for frame, rgb, depth in read_all(path):
            assert (frame.pose.shape, rgb.dtype, depth.dtype) == ((4, 4), np.uint8, np.uint16)
    except UserError as error:
        return str(error)
    return None
