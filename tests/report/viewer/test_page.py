from __future__ import annotations

import base64
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roomseg.labels import PANOROOMS3D
from roomseg.report.viewer import ViewedClass, ViewerContent, ViewerSurface, write_viewer
from roomseg.report.viewer.page import MOST_BYTES, packed
from roomseg.report.viewer.reduce import reduced
from tests.report.viewer.browser import Browser, find_browser
from tests.scenes.user_scan.box import COLORS, SIZE_M, as_cloud, box_room

CLASS_OF = {"floor": 20, "ceiling": 1, "wall": 17, "bed": 13}
needs_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium: apt-get install chromium")


def content(cloud: bool = False, title: str = "My <room> & more") -> ViewerContent:
    room = box_room(0.05)
    if cloud:
        room = as_cloud(room, 60_000, noise_m=0)
    label = np.zeros(len(room.points), np.uint8)
    for name, color in COLORS.items():
        label[(room.color == color).all(axis=1)] = CLASS_OF[name]
    return ViewerContent(
        title=title,
        facts=(("surface", "51 m\u00b2"),),
        surface=ViewerSurface(
            points=room.points,
            faces=room.faces,
            color=room.color,
            label=label,
            confidence=np.linspace(0.3, 1, len(label), dtype=np.float32),
            normal=inward_normals(room.points, label),
            openness=np.ones(len(label), np.float32),
        ),
        classes=tuple(
            ViewedClass(k, PANOROOMS3D.names[k], PANOROOMS3D.colors[k], 10.0, 0.25, int((label == k).sum()))
            for k in CLASS_OF.values()
        ),
    )


def inward_normals(points: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Of the walls towards the middle, each along the axis whose bound is nearest; up on the floor and the bed."""
    gap = np.concatenate([points, np.array(SIZE_M) - points], axis=1)
    gap[:, [2, 5]] = np.where(label[:, None] == CLASS_OF["wall"], 9, gap[:, [2, 5]])
    side = gap.argmin(axis=1)
    normal = np.eye(3)[side % 3] * np.where(side < 3, 1, -1)[:, None]
    return np.where((label == CLASS_OF["bed"])[:, None], [0, 0, 1], normal).astype(np.float32)


def unpacked(text: str, dtype: str, columns: int) -> np.ndarray:
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(
        columns * np.dtype(dtype).itemsize, -1
    )
    return np.cumsum(np.ascontiguousarray(planes.T).view(dtype), axis=0, dtype=dtype)


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4"])
def test_packed_buffers_come_back(dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (500, 3), dtype, endpoint=True)
    np.testing.assert_array_equal(unpacked(packed(values), dtype, 3), values)


def test_the_page_needs_nothing_else_and_escapes_what_comes_from_outside(tmp_path: Path) -> None:
    write_viewer(content(title="</script><b>x{{data}}"), tmp_path / "view.html")
    text = (tmp_path / "view.html").read_text()
    assert not re.search(
        r"""(src|href)\s*=|https?://|@import|url\(|{{""", re.sub(r'"\{\{data\}\}|x\{\{data\}\}', "", text)
    )
    assert "<title>&lt;/script&gt;" in text
    assert text.count("</script>") == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))  # type: ignore[union-attr]
    assert data["title"] == "</script><b>x{{data}}"
    place = np.array(data["low"]) + unpacked(data["buffers"]["position"], "<u2", 3) / 65535 * data["extent"]
    np.testing.assert_allclose(place, content().surface.points, atol=2e-4)
    np.testing.assert_array_equal(unpacked(data["buffers"]["index"], "<u4", 3), content().surface.faces)


def test_too_many_points_are_merged_until_the_page_is_small_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomseg.report.viewer.page.MOST_BYTES", 120_000)
    write_viewer(content(), tmp_path / "view.html")
    assert (tmp_path / "view.html").stat().st_size <= 120_000 < MOST_BYTES


def test_merged_points_keep_place_label_and_area() -> None:
    surface = content().surface
    small = reduced(surface, 6000)
    assert 2000 < len(small.points) <= 6000
    np.testing.assert_allclose(small.points.min(axis=0), [0, 0, 0], atol=0.15)

    def areas(each: ViewerSurface) -> np.ndarray:
        corner = each.points[each.faces]
        area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2
        return np.bincount(each.label[each.faces[:, 0]], area, 30)

    np.testing.assert_allclose(areas(small), areas(surface), rtol=0.3)
    assert areas(small).sum() == pytest.approx(areas(surface).sum(), rel=0.08)
    assert reduced(surface, len(surface.points)) is surface


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where the pictures go: a person who wants to look sets ROOMSEG_SHOTS."""
    folder = Path(os.environ.get("ROOMSEG_SHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def hue_shares(picture: np.ndarray) -> dict[int, float]:
    """Share of the pixels with each class's colour, whatever its shade."""
    pixel = picture.reshape(-1, 3).astype(float)
    pixel = pixel[np.ptp(pixel, axis=1) > 12]
    shares = {}
    for k in CLASS_OF.values():
        color = np.array(PANOROOMS3D.colors[k], float)
        if np.ptp(color) > 12:
            scale = (pixel @ color) / (color @ color)
            shares[k] = (
                float(((np.abs(pixel - scale[:, None] * color).max(axis=1) < 6) & (scale > 0.5)).sum())
                / picture[..., 0].size
            )
    return shares


@needs_browser
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 800), ("phone", 390, 844)])
@pytest.mark.parametrize("kind", ["mesh", "cloud"])
def test_the_room_is_drawn_in_its_classes_colours(
    browser: Browser, shots: Path, tmp_path: Path, kind: str, name: str, width: int, height: int
) -> None:
    write_viewer(content(kind == "cloud"), tmp_path / "view.html")
    browser.events.clear()
    browser.open((tmp_path / "view.html").as_uri(), width, height, touch=name == "phone")
    shares = hue_shares(browser.picture(shots / f"{kind}-{name}.png"))
    assert shares[CLASS_OF["floor"]] > 0.03
    assert shares[CLASS_OF["wall"]] > 0.03
    assert shares[CLASS_OF["bed"]] > 0.01
    assert browser.value("document.documentElement.scrollWidth") <= width
    requests = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:", "about:"))] == []
    assert [e for e in browser.events if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")] == []


@needs_browser
def test_classes_can_be_hidden_and_views_changed(browser: Browser, shots: Path, tmp_path: Path) -> None:
    write_viewer(content(), tmp_path / "view.html")
    browser.open((tmp_path / "view.html").as_uri(), 1280, 800)
    bed = CLASS_OF["bed"]
    area = slice(0, 940)  # without the panel, whose swatches have the colours too
    assert hue_shares(browser.picture()[:, area])[bed] > 0.01
    browser.click(f'#classes li[data-id="{bed}"]')
    browser.wait_for("document.documentElement.dataset.drawn === 'prediction 3'")
    assert hue_shares(browser.picture()[:, area])[bed] < 1e-4
    browser.click("#all")
    browser.wait_for("document.documentElement.dataset.drawn === 'prediction 0'")
    browser.click("#all")
    browser.click('[data-view="input"]')
    browser.wait_for("document.documentElement.dataset.drawn === 'input 4'")
    assert hue_shares(browser.picture()[:, area])[bed] < 1e-4
    browser.click('[data-view="confidence"]')
    browser.wait_for("document.documentElement.dataset.drawn === 'confidence 4'")
    browser.picture(shots / "confidence.png")
    assert browser.value("document.getElementById('ramp').hidden") is False


@needs_browser
def test_the_mouse_turns_zooms_and_asks(browser: Browser, tmp_path: Path) -> None:
    write_viewer(content(), tmp_path / "view.html")
    browser.open((tmp_path / "view.html").as_uri() + "#input", 1280, 800)
    browser.wait_for("state.view === 'input'")
    before = browser.value("[state.azimuth, state.elevation, state.distance]")
    browser.mouse("mousePressed", 490, 400, button="left", clickCount=1)
    browser.mouse("mouseMoved", 590, 440, button="left", buttons=1)
    browser.mouse("mouseReleased", 590, 440, button="left", clickCount=1)
    browser.mouse("mouseWheel", 490, 400, deltaX=0, deltaY=-50)
    browser.wait_for(f"state.distance < {before[2]}")  # the page may hear of a wheel later than the browser
    after = browser.value("[state.azimuth, state.elevation, state.distance]")
    assert after[0] == pytest.approx(before[0] - 35)
    assert after[1] == pytest.approx(before[1] + 14)
    browser.click("#reset")
    assert browser.value("pick(490, 620).name") in ("floor", "bed")
    browser.mouse("mouseMoved", 490, 620)
    browser.wait_for("!document.getElementById('tip').hidden")
    assert re.fullmatch(r"(floor|bed), \d+ % sure", browser.value("document.getElementById('tip').textContent"))


@needs_browser
def test_a_page_without_confidence_has_no_button_for_it(browser: Browser, tmp_path: Path) -> None:
    given = content()
    write_viewer(replace(given, surface=replace(given.surface, confidence=None)), tmp_path / "view.html")
    browser.open((tmp_path / "view.html").as_uri(), 1280, 800)
    assert browser.value("document.querySelectorAll('#views button').length") == 2
