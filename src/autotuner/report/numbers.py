"""Numbers and words for people: milliseconds, percent, no false precision, nothing that moves a cursor."""

from autotuner.study.metric import METRICS, Unit, fewest_samples

_UNITS = {
    Unit.SECONDS: "ms",
    Unit.TOKENS_PER_SECOND: "tokens/s",
    Unit.REQUESTS_PER_SECOND: "requests/s",
    Unit.RATIO: "",
    Unit.JOULES_PER_TOKEN: "J/token",
}


def plain(value: float) -> str:
    """Three significant digits, thousands grouped."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


UNSURE = "~"
"""Stands before what rests on a percentile that its sample cannot carry."""


def unsure_text(what: str) -> str:
    """The sentence on one such percentile (``p99 ttft of 30 requests``)."""
    statistic = what.partition(" ")[0]
    return f"{UNSURE} {what}: too few for a {statistic}, which needs at least {fewest_samples(statistic):,}"


def with_unit(metric: str, value: float | None) -> str:
    """``1,234 tokens/s``, ``56.7 ms``; a dash where nothing was measured."""
    if value is None:
        return "-"
    unit = METRICS[metric].unit
    if unit is Unit.RATIO:
        return f"{value * 100:.4g} %"
    shown = value * 1000 if unit is Unit.SECONDS else value
    return f"{plain(shown)} {_UNITS[unit]}"


def percent(ratio: float, *, sign: bool = True) -> str:
    """``+12 %``; one decimal below ten."""
    if ratio == 0:
        return "0 %"
    digits = 0 if abs(ratio) >= 0.0995 else 1
    return f"{ratio * 100:{'+' if sign else ''}.{digits}f} %"


def one_line(text: str) -> str:
    """Text of others (a value, a log line) for a terminal: one line, no control characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
