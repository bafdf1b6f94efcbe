from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D
from roomseg.report.content import ReportContent
from roomseg.report.page import page, write_report
from roomseg.report.pictures import HERO_BYTES, HERO_WIDTH, colorize, hero_picture, panorama_views
from roomseg.report.tables import MOST_ROOMS, room_scores, scores
from tests.report.synthetic import HOSTILE, synthetic_content, synthetic_panorama

VOID_TAGS = {"meta", "img", "br"}
SECTIONS = ["scores", "paper", "rooms", "every-room", "panoramas", "classes", "confusion", "training", "timings"]
SECTIONS += ["facts", "credits"]


class Outline(HTMLParser):
    """Checks that tags are balanced; gathers ids, links, texts and the rows of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID_TAGS:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if "td" in self.open:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return synthetic_content()


@pytest.fixture(scope="module")
def html(content: ReportContent) -> str:
    return page(content)


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    return Outline(html)


def test_has_every_section_in_order(outline: Outline) -> None:
    assert [name for name in outline.ids if name in SECTIONS] == SECTIONS


def test_needs_nothing_from_outside(html: str, outline: Outline) -> None:
    assert outline.tags.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    assert [link for link in outline.links if not link.startswith("data:image/")] == ["views/room-1.html"]
    assert not re.search(r"https?:|url\(|@import", html)


def test_table_has_the_given_scores(outline: Outline) -> None:
    rows = {row[0]: row[1:] for row in outline.rows if row}
    dash = "\N{EN DASH}"
    assert rows["constant"] == ["2.1", "1.8 to 2.5", "", "31.0", "28.0 to 34.0", "5.0", "42.0", dash, dash]
    distilled = ["41.2", "37.7 to 44.8", "", "43.1", "40.1 to 46.1", "53.8", "79.4", "375,036", "1.25"]
    assert distilled in [row[1:] for row in outline.rows if row and row[0] == "distilled student"]
    assert rows["teacher 2D, pixels of panoramas"] == ["44.7", "", "", dash, "", "55.2", dash, "", ""]


def test_tables_of_the_paper_are_in_the_published_definitions(outline: Outline) -> None:
    assert ["distilled student", "0.38M", "43.10", "63.80", "89.40"] in outline.rows
    assert ["mIoU \N{UPWARDS ARROW}", "40.20", "43.10", "+2.9"] in outline.rows


def test_an_ablation_stands_beside_the_whole(content: ReportContent) -> None:
    models = {model.name: model for model in content.models}
    without = replace(models["pretrained student"], name="student without skip", miou_published=0.391)
    alone = replace(models["pretrained student"], name="cross entropy alone", macc_published=0.632)
    pairs = [("student without skip", "pretrained student"), ("cross entropy alone", "distilled student")]
    rows = Outline(page(replace(content, models=[without, alone, *content.models], ablations=pairs))).rows
    assert ["mIoU \N{UPWARDS ARROW}", "39.10", "40.20", "+1.1"] in rows  # before the skip, with it
    assert ["mAcc \N{UPWARDS ARROW}", "63.20", "63.80", "+0.6"] in rows
    assert ["mIoU \N{UPWARDS ARROW}", "40.20", "43.10", "+2.9"] in rows


def test_every_room_has_a_line_the_best_first(content: ReportContent, outline: Outline) -> None:
    places = [outline.rows.index(row) for row in outline.rows if row and row[0] in ("room-1", HOSTILE)]
    assert [outline.rows[place] for place in places] == [
        [
            HOSTILE,
            "living room",
            "6.1 \N{MULTIPLICATION SIGN} 5.0 \N{MULTIPLICATION SIGN} 2.6",
            "80.0",
            "\N{EN DASH}",
            "70.0",
        ],
        ["room-1", "bedroom", "4.0 \N{MULTIPLICATION SIGN} 5.0 \N{MULTIPLICATION SIGN} 2.6", "43.2", "+3.2", "45.0"],
    ]
    many = [replace(content.room_scores[0], miou=n / 1000) for n in range(MOST_ROOMS + 5)]
    assert "5 rooms of the middle are left out" in (short := room_scores(many))
    assert short.count("<tr><td>") == MOST_ROOMS


def test_headline_says_gain_over_the_model_before(outline: Outline) -> None:
    words = " ".join(outline.words)
    assert "41.2 % mIoU" in words
    assert "+2.7 points over pretrained student" in re.sub(r"\s+", " ", words)


def test_hostile_texts_are_escaped(content: ReportContent, html: str, outline: Outline) -> None:
    assert content.rooms[0].room_id.startswith("<script>")
    assert "<script" not in html
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in html
    assert "img/onerror" in "".join(outline.words)
    assert '"><svg/onload' not in html


def test_classes_that_do_not_occur_have_no_bar(outline: Outline) -> None:
    text = "|".join(outline.words)
    assert re.search(r"bed\|60.0 →\| \|70.0", text)
    assert "flue|" not in text[text.index("Every class") :]


def test_pictures_decode_at_their_stated_size(content: ReportContent, html: str) -> None:
    pattern = r'src="data:image/webp;base64,([^"]+)" alt="[^"]*" width="(\d+)" height="(\d+)"'
    pictures = re.findall(pattern, html)
    assert len(pictures) == 4 * len(content.rooms) + 6 * len(content.panoramas)
    for code, width, height in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(code))).size == (int(width), int(height))


def test_panorama_captions_count_what_they_say(outline: Outline) -> None:
    words = "".join(outline.words)
    assert "teacher, 75.0 % of pixels right" in words
    assert "student, projected, 100.0 % right where it hits" in words
    assert "disagreement of the two in red, 33.3 %" in words
    assert "hits of the surface, 75.0 %" in words


def test_page_is_light_and_whole(html: str, content: ReportContent, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(content, path)
    assert path.read_text(encoding="utf-8") == html
    assert path.stat().st_size < 6_000_000


def test_page_without_pictures_curves_and_credits_has_no_empty_sections(content: ReportContent) -> None:
    bare = replace(content, rooms=(), room_scores=(), panoramas=(), curves=(), timings=(), facts=(), credits=())
    assert [name for name in Outline(page(bare)).ids if name in SECTIONS] == ["scores", "paper", "classes", "confusion"]


def test_panorama_views_by_hand() -> None:
    panorama = synthetic_panorama("room")
    views = panorama_views(panorama, PANOROOMS3D)
    red = views.disagreement[..., 0].astype(int) > views.disagreement[..., 1].astype(int) + 60
    assert (red == (panorama.hit & (panorama.teacher != panorama.student))).all()
    assert (views.truth == colorize(panorama.truth, PANOROOMS3D)).all()
    assert len(np.unique(views.hit.reshape(-1, 3), axis=0)) == 2


def test_colorize_takes_the_colours_of_the_classes() -> None:
    assert colorize(np.arange(len(PANOROOMS3D), dtype=np.uint8), PANOROOMS3D).tolist() == [
        list(color) for color in PANOROOMS3D.colors
    ]
    assert colorize(np.full((2, 3), PANOROOMS3D.id("bed"), np.uint8), PANOROOMS3D).shape == (2, 3, 3)


def test_hero_picture_is_one_light_png(content: ReportContent, tmp_path: Path) -> None:
    hero_picture(content, tmp_path / "hero.png")
    picture = Image.open(tmp_path / "hero.png")
    assert picture.format == "PNG"
    assert picture.width == HERO_WIDTH
    assert (tmp_path / "hero.png").stat().st_size <= HERO_BYTES


def test_hero_picture_does_without_panoramas_but_not_without_rooms(content: ReportContent, tmp_path: Path) -> None:
    hero_picture(replace(content, panoramas=()), tmp_path / "hero.png")
    assert Image.open(tmp_path / "hero.png").height < 500
    with pytest.raises(UserError, match="pictured_rooms"):
        hero_picture(replace(content, rooms=()), tmp_path / "none.png")


def test_the_seconds_say_on_what_device() -> None:
    content = synthetic_content()
    assert "<th>s a room<br><small>2 CPU threads</small></th>" in scores(content)
    assert "<th>s a room</th>" in scores(replace(content, device=""))
    assert "<small>&lt;b&gt; 9</small></th>" in scores(replace(content, device="<b> 9"))
