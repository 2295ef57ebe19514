"""Small charts as inline SVG: pure functions from numbers to markup, without libraries or scripts.

Colors come from the page's style sheet, so they follow the light or dark theme. Shapes convey the same as colors. Each
chart is an image with a title and a description; each mark has a tooltip.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotuner.report.html.markup import Child, Html, element
from autotuner.report.numbers import plain

WIDTH = 640.0
HEIGHT = 280.0
LEFT = 64.0
RIGHT = 16.0
TOP = 14.0
BOTTOM = 44.0


@dataclass(frozen=True)
class Mark:
    """One point of a chart."""

    x: float
    y: float
    kind: str
    """``ok`` disc, ``bad`` hollow diamond, ``failed`` cross, ``default`` and ``default-bad`` squares, ``best`` star."""
    label: str
    """Tooltip."""


@dataclass(frozen=True)
class Line:
    """A labeled reference line across the chart."""

    value: float
    label: str
    kind: str
    """Style class: ``default`` or ``slo``."""
    vertical: bool = False


@dataclass(frozen=True)
class Chart:
    """Texts of a chart, and an id that is unique on the page."""

    id: str
    title: str
    description: str
    x_title: str = ""
    y_title: str = ""


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def points_chart(
    chart: Chart, marks: Sequence[Mark], *, lines: Sequence[Line] = (), path: Sequence[tuple[float, float]] = ()
) -> Html:
    """Draws points over two numeric axes, with reference lines and a stepped path (best so far).

    Marks whose ``y`` is NaN (failed trials) are drawn on the bottom edge.
    """
    finite = [m for m in marks if math.isfinite(m.y)]
    xs = [*(m.x for m in marks), *(line.value for line in lines if line.vertical)]
    ys = [*(m.y for m in finite), *(line.value for line in lines if not line.vertical)]
    x, x_ticks = _scale(xs, LEFT, WIDTH - RIGHT, whole=all(v == int(v) for v in xs))
    y, y_ticks = _scale(ys, HEIGHT - BOTTOM, TOP)
    order = list(_SHAPES)
    drawn = [
        _mark(m, x(m.x), y(m.y) if math.isfinite(m.y) else HEIGHT - BOTTOM)
        for m in sorted(marks, key=lambda m: order.index(m.kind))
    ]
    return _svg(chart, HEIGHT, _axes(chart, x, y, x_ticks, y_ticks), _path(path, x, y), _lines(lines, x, y), drawn)


def rows_chart(chart: Chart, rows: Sequence[tuple[str, Sequence[Mark]]], *, means: bool = False) -> Html:
    """Draws one row of points per category over a shared axis (``x``); ``y`` of the marks is not used.

    Points of a row are spread a little, in a fixed pattern, so that equal ones do not overlap. ``means`` adds a line at
    the mean of each row.
    """
    pitch = 34.0 if len(rows) <= 8 else 22.0
    label = min(220.0, 24 + 7.2 * max((len(_cut(name)) for name, _ in rows), default=1))
    height = TOP + pitch * len(rows) + BOTTOM
    x, ticks = _scale([m.x for _, marks in rows for m in marks], label, WIDTH - RIGHT)
    parts: list[Child] = [
        [
            element("line", class_="grid", x1=x(t), x2=x(t), y1=TOP, y2=height - BOTTOM),
            element("text", plain(t), class_="tick middle", x=x(t), y=height - BOTTOM + 16),
        ]
        for t in ticks
    ]
    parts.append(element("text", chart.x_title, class_="axis middle", x=(label + WIDTH - RIGHT) / 2, y=height - 8))
    for i, (name, marks) in enumerate(rows):
        center = TOP + pitch * (i + 0.5)
        parts.append(element("line", class_="row", x1=label, x2=WIDTH - RIGHT, y1=center, y2=center))
        parts.append(element("text", _cut(name), class_="tick end", x=label - 8, y=center + 4))
        parts += [_mark(m, x(m.x), center + _SPREAD[j % len(_SPREAD)] * pitch) for j, m in enumerate(marks)]
        if means and marks:
            mean = x(math.fsum(m.x for m in marks) / len(marks))
            parts.append(element("line", class_="mean", x1=mean, x2=mean, y1=center - 12, y2=center + 12))
    return _svg(chart, height, *parts)


_SPREAD = (0.0, -0.18, 0.18, -0.09, 0.09, -0.27, 0.27)


def ticks_between(low: float, high: float, count: int = 5) -> list[float]:
    """Returns round numbers, 1, 2 or 5 times a power of ten apart, that cover the range from ``low`` to ``high``."""
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    step = next(step * f for f in (1, 2, 5, 10) if (high - low) / (step * f) <= count)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _scale(values: Sequence[float], start: float, end: float, *, whole: bool = False) -> tuple[_Scale, list[float]]:
    low = min(values, default=0.0)
    high = max(values, default=1.0)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-12):
        margin = abs(low) * 0.05 or 1.0
        low = low - margin
        high = high + margin
    if whole and high - low < 5:
        high = low + 5
    ticks = ticks_between(low, high)
    return _Scale(ticks[0], ticks[-1], start, end), ticks


def _svg(chart: Chart, height: float, *children: Child) -> Html:
    title = f"{chart.id}-title"
    description = f"{chart.id}-description"
    return element(
        "svg",
        element("title", chart.title, id=title),
        element("desc", chart.description, id=description),
        *children,
        id=chart.id,
        role="img",
        aria_labelledby=f"{title} {description}",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
    )


def _axes(chart: Chart, x: _Scale, y: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[Child]:
    floor = HEIGHT - BOTTOM
    parts: list[Child] = []
    for tick in y_ticks:
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick)))
        parts.append(element("text", plain(tick), class_="tick end", x=LEFT - 6, y=y(tick) + 4))
    parts += [element("text", plain(t), class_="tick middle", x=x(t), y=floor + 16) for t in x_ticks]
    parts.append(element("line", class_="edge", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor))
    parts.append(element("text", chart.x_title, class_="axis middle", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6))
    turn = f"rotate(-90 14 {(TOP + floor) / 2:g})"
    parts.append(element("text", chart.y_title, class_="axis middle", x=14.0, y=(TOP + floor) / 2, transform=turn))
    return parts


def _lines(lines: Sequence[Line], x: _Scale, y: _Scale) -> list[Child]:
    parts: list[Child] = []
    for line in lines:
        if line.vertical:
            at = x(line.value)
            parts.append(element("line", class_=f"ref {line.kind}", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM))
            near_right = at > (LEFT + WIDTH) / 2
            side = at - 4 if near_right else at + 4
            parts.append(
                element("text", line.label, class_=f"note {'end' if near_right else ''}", x=side, y=HEIGHT - BOTTOM - 6)
            )
        else:
            at = y(line.value)
            parts.append(element("line", class_=f"ref {line.kind}", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
            above = at - 5 if at > TOP + 16 else at + 14
            parts.append(element("text", line.label, class_="note end", x=WIDTH - RIGHT - 2, y=above))
    return parts


def _path(path: Sequence[tuple[float, float]], x: _Scale, y: _Scale) -> Html | None:
    if not path:
        return None
    words = [f"M{x(path[0][0]):.1f} {y(path[0][1]):.1f}"]
    words += [f"H{x(a):.1f}V{y(b):.1f}" for a, b in path[1:]]
    return element("path", class_="best-so-far", d="".join(words))


def _mark(mark: Mark, x: float, y: float) -> Html:
    return element("g", element("title", mark.label), _SHAPES[mark.kind](x, y), class_=f"mark {mark.kind}")


def _disc(x: float, y: float) -> Html:
    return element("circle", cx=x, cy=y, r=4.0)


def _diamond(x: float, y: float) -> Html:
    return element("path", d=f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5-5.5 5.5-5.5-5.5z")


def _cross(x: float, y: float) -> Html:
    return element("path", d=f"M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8")


def _square(x: float, y: float) -> Html:
    return element("rect", x=x - 5, y=y - 5, width=10.0, height=10.0)


def _star(x: float, y: float) -> Html:
    corners = []
    for i in range(10):
        radius = 8.5 if i % 2 == 0 else 3.6
        angle = math.pi * (i / 5 - 0.5)
        corners.append(f"{x + radius * math.cos(angle):.1f},{y + radius * math.sin(angle):.1f}")
    return element("polygon", points=" ".join(corners))


_SHAPES: dict[str, Callable[[float, float], Html]] = {
    "failed": _cross,
    "bad": _diamond,
    "ok": _disc,
    "default-bad": _square,
    "default": _square,
    "best": _star,
}
"""Drawn in this order, so that the most important ones are on top."""


def legend(kinds: Sequence[tuple[str, str]]) -> Html:
    """Draws a legend of ``(kind, text)`` pairs."""
    items = [
        element(
            "li",
            element(
                "svg",
                element("g", _SHAPES[kind](10.0, 10.0), class_=f"mark {kind}"),
                viewBox="0 0 20 20",
                aria_hidden="true",
            ),
            text,
        )
        for kind, text in kinds
    ]
    return element("ul", *items, class_="legend")


def bar(share: float) -> Html:
    """Draws a share from 0 to 1 as a bar, to be accompanied by the number as text."""
    return element(
        "svg",
        element("rect", class_="track", x=0.0, y=3.0, width=100.0, height=8.0, rx=2.0),
        element("rect", class_="fill", x=0.0, y=3.0, width=max(0.0, min(1.0, share)) * 100, height=8.0, rx=2.0),
        viewBox="0 0 100 14",
        class_="bar",
        aria_hidden="true",
    )


def _cut(text: str, limit: int = 26) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
