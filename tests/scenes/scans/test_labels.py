"""Ids to classes: the tables, label pictures, and the zips that ScanNet keeps them in."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D, SCANNET20
from roomseg.scenes.scans import label_zip
from roomseg.scenes.scans.label_zip import LabelZip
from roomseg.scenes.scans.labels import id_table, nyu40_table, read_classes, scannet_table
from tests.scenes.scans.recordings import TABLE, encoded, save, write_zip

NYU40 = """
    void wall floor cabinet bed chair sofa table door window bookshelf picture counter blinds desk shelves curtain
    dresser pillow mirror floor-mat clothes ceiling books refrigerator television paper towel shower-curtain box
    whiteboard person night-stand toilet sink lamp bathtub bag otherstructure otherfurniture otherprop
"""


def test_nyu40_to_the_classes_of_the_same_name() -> None:
    """The 20 classes are NYU classes of the same names; every other id, above 40 too, is void."""
    assert len(NYU40.split()) == 41
    table = nyu40_table()
    for nyu, hyphened in enumerate(NYU40.split()):
        name = hyphened.replace("-", " ")
        assert table[nyu] == (SCANNET20.id(name) if name in SCANNET20.names else 0), name
    assert (table > 0).sum() == 20
    assert table[[50, 149, 255, 65535]].tolist() == [0, 0, 0, 0]


def test_scannet_ids_go_by_the_releases_table(tmp_path: Path) -> None:
    table = scannet_table(save(tmp_path / "t.tsv", TABLE))
    named = {1: "wall", 3: "floor", 4: "table", 41: "void", 1163: "void", 1164: "void", 1165: "table", 2: "void"}
    assert {i: SCANNET20.names[table[i]] for i in named} == named
    assert (table.shape, table.dtype) == ((65536,), np.uint8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 has no columns id and nyu40id"),
        ("id,nyu40id\n1,1\n", "line 1 has no columns"),
        ("id\tnyu40id\n1\t1\none\t2\n", "line 3: got id 'one', nyu40id '2'; expected ids"),
        ("id\tnyu40id\n70000\t1\n", "line 2: got id '70000'"),
        ("id\tnyu40id\n-1\t1\n", "line 2: got id '-1'"),
        ("id\tnyu40id\n1\t99999\n", "line 2: got id '1', nyu40id '99999'"),
    ],
)
def test_a_damaged_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scannet_table(save(tmp_path / "t.tsv", text))


def test_ids_of_a_label_set() -> None:
    table, labels = id_table("panorooms3d")
    assert labels == PANOROOMS3D
    ids = np.array([[0, 1, 17], [29, 255, 20]], np.uint8)
    expected = [[0, 1, PANOROOMS3D.id("wall")], [29, 0, PANOROOMS3D.id("floor")]]
    assert read_classes(encoded(ids), "a", table).tolist() == expected
    assert read_classes(encoded(ids.astype(np.uint16)), "a", table).tolist() == expected
    with pytest.raises(UserError, match=r"x\.png: got id 30; expected ids of the label set or of void"):
        read_classes(encoded(ids + np.uint8(1)), "x.png", table)
    assert id_table("nyu40")[1] == id_table("scannet20")[1] == SCANNET20
    assert id_table("nyu40")[0][39] == id_table("scannet20")[0][20] == 20


def test_coloured_label_pictures_are_refused() -> None:
    with pytest.raises(UserError, match=r"x\.png has pixels of the kind RGB; expected class ids"):
        read_classes(encoded(np.zeros((2, 2, 3), np.uint8)), "x.png", nyu40_table())


def test_a_zip_gives_the_frame_by_its_number(tmp_path: Path) -> None:
    members = {f"label-filt/{n}.png": encoded(np.full((3, 4), n, np.uint16)) for n in (0, 3, 10)}
    labels = LabelZip(write_zip(tmp_path / "a.zip", {"label-filt/": b"", "readme.txt": b"", **members}), nyu40_table())
    reader = labels(("3",))
    assert reader is not None
    assert reader().tolist() == [[SCANNET20.id("cabinet")] * 4] * 3
    assert labels(("1",)) is None


@pytest.mark.parametrize("name", ["../x.png", "label-filt/../../x.png", "/etc/x.png", "label-filt\\..\\0.png", ".."])
def test_a_zip_with_a_name_that_leaves_it_is_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(
        tmp_path / "deep" / "a.zip", {"label-filt/0.png": encoded(np.zeros((2, 2), np.uint16)), name: b"x"}
    )
    with pytest.raises(UserError, match=r"a\.zip: .* leaves the archive; expected label pictures"):
        LabelZip(path, nyu40_table())
    assert [p.name for p in tmp_path.rglob("*")] == ["deep", "a.zip"]


def test_a_damaged_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"b\.zip is no zip"):
        LabelZip(save(tmp_path / "b.zip", b"PK nothing"), nyu40_table())
    ids = np.random.default_rng(0).integers(0, 40, (20, 20), np.uint8).astype(np.uint16)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("label-filt/0.png", encoded(ids))
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    reader = LabelZip(save(tmp_path / "c.zip", bytes(data)), nyu40_table())(("0",))
    assert reader is not None
    with pytest.raises(UserError, match=r"c\.zip: label-filt/0\.png cannot be read .*CRC"):
        reader()
    monkeypatch.setattr(label_zip, "MAX_IMAGE_BYTES", 100)
    reader = LabelZip(path, nyu40_table())(("0",))
    assert reader is not None
    with pytest.raises(UserError, match=r"a\.zip: label-filt/0\.png has \d+ bytes"):
        reader()


def test_a_member_that_grows_beyond_what_it_says_is_not_followed(tmp_path: Path) -> None:
    """The size in the archive's list is made small: no more than that is inflated."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("label-filt/0.png", bytes(10**7))
    data = file.getvalue().replace((10**7).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    reader = LabelZip(save(tmp_path / "a.zip", data), nyu40_table())(("0",))
    assert reader is not None
    with pytest.raises(UserError, match=r"a\.zip: label-filt/0\.png"):
        reader()
