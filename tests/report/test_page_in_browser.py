"""The page as people meet it: on a phone, and in the frame of Kubeflow's UI, which lets no script run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roomseg.report.page import write_report
from tests.report.synthetic import synthetic_content
from tests.report.viewer.browser import PATIENCE_S, Browser, find_browser
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium: apt-get install chromium")
PHONE, DESKTOP = (390, 844), (1280, 900)
COLOURS = 50
FRAME = """<!doctype html><html data-drawn="1"><body style="margin:0"><iframe id="frame" {sandbox}
style="border:0;width:100vw;height:100vh;display:block" onload="document.body.dataset.loaded=1"
src="report.html"></iframe></body></html>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(synthetic_content(), folder / "report.html")
    for name, sandbox in (("open", ""), ("closed", "sandbox"), ("scripts", 'sandbox="allow-scripts"')):
        (folder / f"{name}.html").write_text(FRAME.format(sandbox=sandbox))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def show(browser: Browser, page: Path, size: tuple[int, int]) -> np.ndarray:  # (H, W, 3) uint8
    browser.open(page.as_uri(), *size)
    browser.wait_for("document.body?.dataset.loaded === '1'")
    wait_until(lambda: is_painted(browser.picture()), PATIENCE_S)  # a frame paints later
    wait_until(lambda: np.array_equal(browser.picture(), browser.picture()), PATIENCE_S)  # and its pictures later still
    return browser.picture()


def is_painted(picture: np.ndarray) -> bool:
    return len(np.unique(picture.reshape(-1, 3), axis=0)) >= COLOURS


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_a_sandboxed_frame_shows_the_same(browser: Browser, folder: Path, size: tuple[int, int]) -> None:
    plain = show(browser, folder / "open.html", size)
    for name in ("closed", "scripts"):
        assert np.abs(show(browser, folder / f"{name}.html", size).astype(int) - plain).mean() < 1


def test_nothing_on_a_phone_is_wider_than_the_screen(browser: Browser, folder: Path) -> None:
    marked = folder / "marked.html"
    marked.write_text((folder / "report.html").read_text().replace("<html ", '<html data-drawn="1" ', 1))
    browser.open(marked.as_uri(), *PHONE, touch=True)
    browser.wait_for("document.readyState === 'complete'")
    assert browser.value("document.documentElement.scrollWidth") == PHONE[0]
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    texts = "[...document.querySelectorAll('td,p,dd,figcaption')]"
    assert browser.value(f"{texts}.every(text => parseFloat(getComputedStyle(text).fontSize) >= 11)")
