"""Charts: marks are inside the picture, ticks are round and cover the data, and texts describe what is shown."""

import math
from collections.abc import Callable
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.report.html.charts import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Chart,
    Line,
    Mark,
    bar,
    legend,
    points_chart,
    rows_chart,
    ticks_between,
)
from autotuner.report.html.result_charts import parameter_figures, progress_figure, repeats_figure, tradeoff_figure
from autotuner.report.numbers import percent, plain, with_unit
from autotuner.report.result import StudyResult
from autotuner.testing.samples import SampleKind

Sampled = Callable[[str], StudyResult]
CHART = Chart(id="c", title="a < b", description="d", x_title="x", y_title="y")
numbers = st.floats(-1e9, 1e9).map(lambda v: 0.0 if abs(v) < 1e-6 else v)


def tree(markup: str) -> Element:
    return fromstring(markup)  # noqa: S314 - our own markup


def marks_of(svg: Element, kind: str) -> list[Element]:
    return [g for g in svg.iter("g") if g.get("class") == f"mark {kind}"]


@given(st.tuples(numbers, numbers).filter(lambda pair: pair[1] - pair[0] > 1e-6 * max(1.0, abs(pair[0]))))
def test_ticks_are_round_few_and_cover_the_range(ends: tuple[float, float]) -> None:
    low, high = ends
    ticks = ticks_between(low, high)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= high - 1e-6 * step
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-3


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20), st.lists(numbers, max_size=3))
def test_everything_is_drawn_inside_the_chart(points: list[tuple[float, float]], bounds: list[float]) -> None:
    marks = [Mark(x, y, "ok", "label") for x, y in points]
    lines = [Line(v, "bound", "slo", vertical=i % 2 == 0) for i, v in enumerate(bounds)]
    svg = tree(points_chart(CHART, marks, lines=lines, path=points).text)
    circles = list(svg.iter("circle"))
    assert len(circles) == len(points)
    for circle in circles:
        assert LEFT <= float(circle.get("cx", "")) <= WIDTH - RIGHT
        assert 0 <= float(circle.get("cy", "")) <= HEIGHT
    assert "nan" not in points_chart(CHART, marks, lines=lines).text


def test_failed_trial_is_at_the_bottom_and_does_not_change_the_axis() -> None:
    ok = [Mark(0.0, 10.0, "ok", "a"), Mark(1.0, 20.0, "ok", "b")]
    without = tree(points_chart(CHART, ok).text)
    svg = tree(points_chart(CHART, [*ok, Mark(2.0, math.nan, "failed", "c")]).text)
    assert [c.get("cy") for c in svg.iter("circle")] == [c.get("cy") for c in without.iter("circle")]
    assert len(marks_of(svg, "failed")) == 1


def test_best_is_drawn_on_top() -> None:
    svg = tree(points_chart(CHART, [Mark(1.0, 1.0, "best", "b"), Mark(1.0, 1.0, "ok", "a")]).text)
    kinds = [g.get("class") for g in svg.iter("g")]
    assert kinds == ["mark ok", "mark best"]


@given(st.lists(st.tuples(st.text(max_size=40), st.lists(numbers, max_size=9)), max_size=12))
def test_rows(rows: list[tuple[str, list[float]]]) -> None:
    cleaned = [("".join(c for c in name if c.isprintable()), values) for name, values in rows]
    made = rows_chart(CHART, [(n, [Mark(v, 0.0, "ok", n) for v in vs]) for n, vs in cleaned], means=True)
    svg = tree(made.text)
    assert len(list(svg.iter("circle"))) == sum(len(vs) for _, vs in rows)
    assert len([line for line in svg.iter("line") if line.get("class") == "mean"]) == sum(bool(vs) for _, vs in rows)
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    for circle in svg.iter("circle"):
        assert 0 <= float(circle.get("cx", "")) <= width
        assert 0 <= float(circle.get("cy", "")) <= height


def test_means_are_means() -> None:
    svg = tree(rows_chart(CHART, [("a", [Mark(v, 0.0, "ok", "") for v in (0.0, 5.0, 10.0)])], means=True).text)
    xs = sorted(float(c.get("cx", "")) for c in svg.iter("circle"))
    mean = next(line for line in svg.iter("line") if line.get("class") == "mean")
    assert float(mean.get("x1", "")) == pytest.approx(xs[1], abs=0.1)


@pytest.mark.parametrize(("share", "width"), [(0.0, 0.0), (0.5, 50.0), (1.0, 100.0), (7.0, 100.0), (-1.0, 0.0)])
def test_bar(share: float, width: float) -> None:
    fill = [r for r in tree(bar(share).text).iter("rect") if r.get("class") == "fill"]
    assert float(fill[0].get("width", "")) == width


def test_charts_have_titles_and_descriptions() -> None:
    svg = tree(points_chart(CHART, [Mark(1.0, 1.0, "ok", "trial 1")]).text)
    assert svg.get("role") == "img"
    named = {e.get("id"): e.text for e in svg if e.get("id")}
    assert [named[i] for i in svg.get("aria-labelledby", "").split()] == ["a < b", "d"]
    assert [t.text for g in svg.iter("g") for t in g.iter("title")] == ["trial 1"]
    assert "the best" in legend([("best", "the best")]).text


@pytest.mark.parametrize("kind", SampleKind)
def test_every_kind_is_drawn(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    figures = [progress_figure(result), tradeoff_figure(result), repeats_figure(result), *parameter_figures(result)]
    drawn = [f for f in figures if f is not None]
    assert (drawn == []) == (kind is SampleKind.EMPTY)
    for figure in drawn:
        assert "nan" not in figure.text
        tree(figure.text)


def test_search_is_drawn_trial_by_trial(sampled: Sampled) -> None:
    figure = progress_figure(sampled("winner"))
    assert figure is not None
    svg = next(tree(figure.text).iter("svg"))
    assert (len(marks_of(svg, "best")), len(marks_of(svg, "default"))) == (1, 1)
    assert sum(1 for g in svg.iter("g") if (g.get("class") or "").startswith("mark")) == 14, "repeats are not trials"


def test_numbers_for_people() -> None:
    assert [plain(v) for v in (0, 0.01234, 5.678, 99.94, 123.4, 12345.6)] == [
        "0",
        "0.0123",
        "5.68",
        "99.9",
        "123",
        "12,346",
    ]
    assert [percent(v) for v in (0.0, 0.0123, -0.0994, 0.0996, 1.5)] == ["0%", "+1.2%", "-9.9%", "+10%", "+150%"]
    assert with_unit("ttft", 0.0567) == "56.7 ms"
    assert with_unit("success_rate", 0.995) == "99.5%"
    assert with_unit("output_throughput", None) == "-"
