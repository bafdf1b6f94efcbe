from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roomseg.geometry.mesh import TriangleMesh, plain_mesh
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.furniture import FurnitureItem, FurnitureLibrary, content_digest, mesh_bytes, open_furniture
from roomseg.scenes.furniture_classes import KINDS, LABEL_OF_KIND
from roomseg.scenes.furniture_table import KIND_OF_MODEL, REASON_LEFT_OUT
from roomseg.scenes.sh3f import load_model, read_catalogue
from tests.scenes.libraries import BLOCK_OBJ, catalogue, item, real_libraries, write_library

SHELL_CLASSES = {"void", "ceiling", "wall", "baseboard"}  # what the room itself is made of


def small_library(folder: Path, model: str = "/scopia/basin2/basin2.obj") -> Path:
    items = [
        item("/scopia/bed1/bed1.obj", 160, 200, 90, creator="someone"),
        item("/scopia/cat/cat.obj", 20, 30, 40),
        item("/scopia/wall-flat-tv/wall-flat-tv.obj", 100, 10, 60, elevation="100"),
        item("/unknown/thing/thing.obj", 20, 30, 40),
    ]
    members = {entry["model"].lstrip("/"): BLOCK_OBJ for entry in items}
    write_library(folder / "b.sh3f", catalogue(items, name="B", license="CC-BY", provider="the maker"), members)
    return folder


def test_every_kind_has_one_class_and_every_class_a_kind() -> None:
    assert set(LABEL_OF_KIND) == set(KINDS)
    named = {PANOROOMS3D.names[label] for label in LABEL_OF_KIND.values()}
    assert named == set(PANOROOMS3D.names) - SHELL_CLASSES


def test_classes_of_kinds_that_are_easy_to_get_wrong() -> None:
    names = {kind: PANOROOMS3D.names[label] for kind, label in LABEL_OF_KIND.items()}
    assert names["bedside_table"] == names["bookcase"] == names["kitchen_cabinet"] == "cabinet"
    assert names["desk"] == names["dressing_table"] == "table"
    assert names["armchair"] == names["office_chair"] == "chair"
    assert names["refrigerator"] == names["tv"] == "appliance"
    assert (names["sink"], names["shower"], names["toilet"]) == ("basin", "bath", "others")
    assert (names["wardrobe"], names["radiator"], names["piano"]) == ("wardrobe", "build element", "recreation")


def test_library_items_are_named_classed_and_credited(tmp_path: Path) -> None:
    library = open_furniture(small_library(tmp_path))
    found = {entry.name: entry for entry in library.items if not entry.name.startswith("parametric/")}
    assert set(found) == {"scopia/bed1", "scopia/wall-flat-tv"}
    bed, tv = found["scopia/bed1"], found["scopia/wall-flat-tv"]
    assert (bed.kind, PANOROOMS3D.names[bed.label], bed.creator, bed.licence, bed.library) == (
        "bed",
        "bed",
        "someone",
        "CC-BY",
        "B",
    )
    assert bed.size_m == pytest.approx((1.6, 2.0, 0.9))
    assert (tv.kind, tv.elevation_m, tv.creator) == ("tv", 1.0, "the maker")
    mesh = library.mesh(bed)
    np.testing.assert_allclose(mesh.bounds, [[-0.8, -1, 0], [0.8, 1, 0.9]], atol=1e-6)
    assert set(mesh.face_label) == {bed.label}
    assert bed in library.of_kind("bed")


def test_without_libraries_every_kind_is_there_and_names_are_sorted(tmp_path: Path) -> None:
    for folder in (None, tmp_path, tmp_path / "absent"):
        library = open_furniture(folder)
        names = [entry.name for entry in library.items]
        assert names == sorted(set(names))
        assert all(len(library.of_kind(kind)) >= 6 for kind in KINDS)
        assert {entry.library for entry in library.items} == {"parametric"}


def test_items_go_to_worker_processes(tmp_path: Path) -> None:
    for entry in open_furniture(small_library(tmp_path)).items[::97]:
        again = pickle.loads(pickle.dumps(entry))
        np.testing.assert_array_equal(again.load().vertices, entry.load().vertices)


def test_digest_follows_the_content(tmp_path: Path) -> None:
    nothing = content_digest(None)
    assert content_digest(tmp_path) == nothing
    small_library(tmp_path)
    first = content_digest(tmp_path)
    assert first == content_digest(tmp_path) != nothing
    (tmp_path / "sweethome3d.jar").write_bytes(b"textures")
    second = content_digest(tmp_path)
    (tmp_path / "b.sh3f").rename(tmp_path / "c.sh3f")
    assert len({nothing, first, second, content_digest(tmp_path)}) == 4


def counted_item(name: str, loads: list[str]) -> FurnitureItem:
    def load() -> TriangleMesh:
        loads.append(name)
        return plain_mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]), 1, (1, 2, 3))

    loader: Callable[[], TriangleMesh] = load
    return FurnitureItem(name, "box", 12, (1, 1, 1), 0, "", "", "", loader)


def test_cache_keeps_the_latest_used_within_its_bytes() -> None:
    loads: list[str] = []
    a, b, c = (counted_item(name, loads) for name in "abc")
    library = FurnitureLibrary([a, b, c], cache_bytes=2 * mesh_bytes(counted_item("x", []).load()))
    library.mesh(a)
    library.mesh(b)
    library.mesh(a)
    library.mesh(c)  # drops b, the longest unused
    library.mesh(a)
    assert loads == ["a", "b", "c"]
    library.mesh(b)
    assert loads == ["a", "b", "c", "b"]


def test_table_has_each_model_once() -> None:
    assert not set(KIND_OF_MODEL) & set(REASON_LEFT_OUT)
    assert len(KIND_OF_MODEL) + len(REASON_LEFT_OUT) == 820
    assert all(0 < LABEL_OF_KIND[kind] < len(PANOROOMS3D) for kind in KIND_OF_MODEL.values())


def test_table_covers_the_real_libraries() -> None:
    catalogues = [read_catalogue(path) for path in sorted(real_libraries().glob("*.sh3f"))]
    keys = {entry.key for each in catalogues for entry in each.entries}
    assert keys == set(KIND_OF_MODEL) | set(REASON_LEFT_OUT)


def test_real_models_have_their_catalogue_size() -> None:
    for path in sorted(real_libraries().glob("*.sh3f")):
        kept = [entry for entry in read_catalogue(path).entries if entry.key in KIND_OF_MODEL]
        for entry in kept[::12]:
            low, high = load_model(path, entry, 1).bounds
            np.testing.assert_allclose(high - low, entry.size_m, rtol=1e-3, atol=2e-4, err_msg=entry.key)
            np.testing.assert_allclose([*(low + high)[:2], low[2]], 0, atol=1e-4, err_msg=entry.key)
