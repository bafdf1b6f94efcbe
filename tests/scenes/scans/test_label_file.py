"""A person's own classes: what a label file says, and each of its faults by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.scenes.scans.label_file import read_label_file
from roomseg.scenes.scans.labels import id_table, read_classes
from tests.scenes.scans.recordings import encoded, save

FLOOR = 'name = "floor"\ncolor = "#98df8a"\nids = [3, 700]\nshell = true\n'
CHAIR = 'name = "chair [soft]"\ncolor = "#0A00ff"\nids = [0]\n'
WHOLE = f'name = "robot"\n[[class]]\n{FLOOR}[[class]]\n{CHAIR}'


def test_names_colours_and_ids(tmp_path: Path) -> None:
    table, labels = id_table(str(save(tmp_path / "labels.toml", WHOLE)))
    assert (labels.name, labels.names) == ("robot", ("void", "floor", "chair [soft]"))
    assert (labels.colors, labels.shell) == (((0, 0, 0), (0x98, 0xDF, 0x8A), (10, 0, 255)), ("floor",))
    ids = np.array([[3, 700, 0, 255]], np.uint16)
    assert read_classes(encoded(ids), "a", table).tolist() == [[1, 1, 2, 0]]
    with pytest.raises(UserError, match=r"b\.png: got id 701; expected ids of the label set or of void"):
        read_classes(encoded(ids + np.uint16(1)), "b.png", table)


@pytest.mark.parametrize(
    ("said", "void_ids"),
    [("", [255]), ("void = []", []), ("void = [7, 8]", [7, 8]), ("void = [65535]", [65535])],
)
def test_ids_of_void(tmp_path: Path, said: str, void_ids: list[int]) -> None:
    """Left out, they are those of 0 and 255 that no class has."""
    _, class_of_id = read_label_file(save(tmp_path / "labels.toml", f"{said}\n{WHOLE}"))
    assert class_of_id == {**dict.fromkeys(void_ids, 0), 3: 1, 700: 1, 0: 2}


def classes(n: int) -> str:
    each = (f'[[class]]\nname = "c{k}"\ncolor = "#000000"\nids = [{k}]\n' for k in range(1, n + 1))
    return 'name = "many"\nvoid = []\n' + "".join(each)


def test_as_many_classes_as_a_byte_holds(tmp_path: Path) -> None:
    table, labels = id_table(str(save(tmp_path / "labels.toml", classes(254))))
    assert (len(labels), table[254]) == (255, 254)
    with pytest.raises(UserError, match=r"labels\.toml: got 255 classes besides void; expected 1 to 254"):
        read_label_file(save(tmp_path / "labels.toml", classes(255)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"#98df8a"', '"green"', """class 1, color: got 'green'; expected red, green and blue such as "#98df8a\""""),
        ('"#0A00ff"', "255", r"class 2, color: Input should be a valid string \(got 255\)"),
        ("[3, 700]", "[]", "class 1, ids: .* at least 1 item"),
        ("[3, 700]", "[3, 65536]", r"class 1, ids\.1: Input should be less than 65536 \(got 65536\)"),
        ("[3, 700]", "[-1]", "class 1, ids.0: Input should be greater than or equal to 0"),
        ("[3, 700]", "[3.0]", r"class 1, ids\.0: Input should be a valid integer \(got 3\.0\)"),
        ("[3, 700]", "[3, 0]", r"id 0 is of floor and of chair \[soft\]; expected it once"),
        ("[3, 700]", "[3, 3]", "id 3 is of floor and of floor; expected it once"),
        ('name = "robot"', 'name = "robot"\nvoid = [0]', r"id 0 is of void and of chair \[soft\]; expected it once"),
        ("chair [soft]", "floor", "the class 'floor' is there twice; expected names that differ"),
        ("chair [soft]", "void", "class 2, name: void is there by itself; put its ids into the list void"),
        ("chair [soft]", " chair", "class 2, name: got ' chair'; expected 1 to 40 letters, no blank at either end"),
        ("chair [soft]", "a\\nb", r"class 2, name: got 'a\\nb'; expected 1 to 40 letters"),
        ("chair [soft]", "x" * 41, "class 2, name: got 'x*'; expected 1 to 40 letters"),
        ("shell = true", "shell = 1", r"class 1, shell: Input should be a valid boolean \(got 1\)"),
        ("shell = true", "walls = true", r"class 1, walls: Extra inputs are not permitted \(got True\)"),
        ('"robot"', '"scannet20"', "name: got 'scannet20'; expected .* and none of panorooms3d, scannet20"),
        ('"robot"', '"a robot"', "name: got 'a robot'; expected 1 to 40 of A-Z"),
        ('name = "robot"\n', "", "name: Field required"),
        (WHOLE, 'name = "robot"', "class: Field required"),
        (WHOLE, 'name = "robot"\nclass = []', "got 0 classes besides void; expected 1 to 254"),
        (WHOLE, f'name = "robot"\n[class]\n{FLOOR}', "class: Input should be a valid tuple"),
        ("[3, 700]", "[3, 700", r".*\(at line \d+, column \d+\)"),
    ],
)
def test_each_fault_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    path = save(tmp_path / "labels.toml", WHOLE.replace(old, new))
    with pytest.raises(UserError, match=rf"^{path}: {message}.*; docs/own-classes\.md has an example$"):
        read_label_file(path)
