"""Pictures of every kind that recordings have, and those that must not be taken for depth."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from roomseg.errors import UserError
from roomseg.scenes.scans.images import decode_color, decode_depth
from tests.scenes.scans.recordings import encoded, pgm

DEPTH = np.array([[0, 1, 255, 256], [1000, 32767, 32768, 65535]], np.uint16)


@pytest.mark.parametrize("data", [encoded(DEPTH), pgm(DEPTH)])
def test_sixteen_bits_come_out_exactly(data: bytes) -> None:
    depth = decode_depth(data, "a", (4, 2))
    assert depth.dtype == np.uint16
    np.testing.assert_array_equal(depth, DEPTH)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.zeros((2, 4), np.uint8), "L"),
        (np.zeros((2, 4, 3), np.uint8), "RGB"),
        (np.zeros((2, 4, 4), np.uint8), "RGBA"),
    ],
)
def test_depth_of_eight_bits_is_refused(image: np.ndarray, kind: str) -> None:
    with pytest.raises(
        UserError, match=rf"0\.png has pixels of the kind {kind}; expected 16 bits: 8-bit depth is a pic"
    ):
        decode_depth(encoded(image), "0.png", (4, 2))


def test_a_pgm_of_eight_bits_is_refused() -> None:
    with pytest.raises(UserError, match="kind L; expected 16 bits"):
        decode_depth(b"P5\n4 2\n255\n" + bytes(8), "0.pgm", (4, 2))


def test_grey_and_palette_pictures_have_colours_too() -> None:
    grey = np.array([[3, 200]], np.uint8)
    assert decode_color(encoded(grey), "a", (2, 1)).tolist() == [[[3] * 3, [200] * 3]]
    palette = Image.fromarray(np.array([[[9, 8, 7], [250, 1, 2]]], np.uint8)).quantize(2)
    file = io.BytesIO()
    palette.save(file, "PNG")
    assert decode_color(file.getvalue(), "a", (2, 1)).tolist() == [[[9, 8, 7], [250, 1, 2]]]


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", encoded(DEPTH)[:-30], b"GIF89a" + bytes(50), pgm(DEPTH)[:-3]]
)
def test_what_is_no_whole_picture(data: bytes) -> None:
    with pytest.raises(UserError, match=r"^x\.png is no whole picture .*expected PNG or PPM"):
        decode_depth(data, "x.png", (4, 2))


def test_a_picture_that_says_it_is_huge_is_not_decoded() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">2I5B", 9000, 9000, 16, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(UserError, match=r"x\.png is 9000 x 9000; expected at most 8192 a side"):
        decode_depth(data, "x.png", (640, 480))
