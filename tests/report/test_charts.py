from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomseg.labels import PANOROOMS3D
from roomseg.report.charts import MAX_POINTS, Frame, class_bars, confusion_chart, line_chart, nice_ticks, thinned
from roomseg.report.text import duration, percent, signed_points


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6))
def test_ticks_are_few_even_and_within(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    assert 2 <= len(ticks) <= 7
    assert min(ticks) >= low - 1e-6 * width - 1e-9
    assert max(ticks) <= low + width * (1 + 1e-6) + 1e-9
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_ticks_by_hand() -> None:
    assert nice_ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert nice_ticks(0.3, 1.1) == [0.4, 0.6, 0.8, 1.0]


def test_frame_places_corners_and_logarithms() -> None:
    frame = Frame(x=(0, 10), y=(1, 100), log=True, width=210, height=110, left=10, right=0, top=10, bottom=0)
    assert frame.place(0, 1) == pytest.approx((10, 110))
    assert frame.place(10, 100) == pytest.approx((210, 10))
    assert frame.place(5, 10) == pytest.approx((110, 60))


def test_thinned_keeps_the_mean_and_the_order() -> None:
    points = [(float(n), float(n % 7)) for n in range(10 * MAX_POINTS)]
    few = thinned(points)
    assert len(few) == MAX_POINTS
    assert np.mean(few, axis=0) == pytest.approx(np.mean(points, axis=0))
    assert thinned(points[:5]) == points[:5]


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [5.0, 0.001], [-2.0, 3.0]])
def test_line_chart_stays_in_its_picture(values: list[float]) -> None:
    svg = line_chart([(float(n), value) for n, value in enumerate(values)], len(values) - 1.0, "loss", dots=True)
    for x, y in re.findall(r'circle cx="([-\d.]+)" cy="([-\d.]+)"', svg):
        assert 0 <= float(x) <= 360
        assert 0 <= float(y) <= 170
    assert svg.count("<circle") == len(values)


def test_confusion_leaves_out_true_void_and_shares_by_row() -> None:
    counts = np.zeros((len(PANOROOMS3D), len(PANOROOMS3D)), np.int64)
    wall, floor = PANOROOMS3D.id("wall"), PANOROOMS3D.id("floor")
    counts[0, floor] = 1000
    counts[wall, wall], counts[wall, floor], counts[wall, 0] = 3, 1, 4
    svg = confusion_chart(counts, PANOROOMS3D)
    tips = re.findall("<title>(.*?)</title>", svg)
    assert tips == ["wall → void: 50.0 %", "wall → wall: 37.5 %", "wall → floor: 12.5 %"]


def test_class_bars_sort_and_compare() -> None:
    values: list[float | None] = [None] * len(PANOROOMS3D)
    values[PANOROOMS3D.id("bed")], values[PANOROOMS3D.id("wall")] = 0.25, 0.75
    html = class_bars(values, None, PANOROOMS3D)
    assert html.index("wall") < html.index("bed")
    assert html.count("<li>") == 2
    assert "before" not in html
    assert 'class="before" style="width:50.00%"' in class_bars(values, [0.5] * len(PANOROOMS3D), PANOROOMS3D)


def test_numbers_as_text() -> None:
    assert (percent(0.4125), percent(1.0, 0), percent(None), percent(float("nan"))) == ("41.2", "100", "–", "–")  # noqa: RUF001
    assert signed_points(-0.0271) == "\N{MINUS SIGN}2.7"
    assert [duration(s) for s in (2.34, 59.99, 312, 3600 + 65)] == ["2.3 s", "60.0 s", "5 min 12 s", "1 h 01 min"]
