"""Numbers and metric names for people: milliseconds, percent, no false precision."""

from autotuner.study.base import number_text
from autotuner.study.metric import METRICS, Unit, fewest_samples

_UNITS = {
    Unit.SECONDS: "ms",
    Unit.TOKENS_PER_SECOND: "tokens/s",
    Unit.REQUESTS_PER_SECOND: "requests/s",
    Unit.DOCUMENTS_PER_SECOND: "documents/s",
    Unit.IN_FLIGHT: "in flight",
    Unit.SPEED: "x speed",
    Unit.RATIO: "",
    Unit.JOULES_PER_TOKEN: "J/token",
    Unit.USD_PER_MILLION_TOKENS: "per 1M tokens",
    Unit.USD_PER_REQUEST: "per request",
}


def plain(value: float) -> str:
    """Three significant digits, thousands grouped."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


UNSURE = "~"
"""Marks what is based on a percentile of too few requests."""


def unsure_text(what: str) -> str:
    """Explains one such percentile, given as ``p99 ttft of 30 requests``."""
    statistic = what.partition(" ")[0]
    return f"{UNSURE} {what}: too few; a {statistic} needs at least {fewest_samples(statistic):,}"


def usd(value: float) -> str:
    """``$7.72``, ``$1,234``; three significant digits below a cent."""
    if value == 0 or value >= 0.1:
        return f"${value:,.0f}" if value >= 1000 else f"${value:.2f}"
    return f"${number_text(float(f'{value:.3g}'))}"


def with_unit(metric: str, value: float | None) -> str:
    """``1,234 tokens/s``, ``56.7 ms``; a dash if there is no value."""
    if value is None:
        return "-"
    unit = METRICS[metric].unit
    if unit is Unit.RATIO:
        return f"{value * 100:.4g}%"
    if unit in (Unit.USD_PER_MILLION_TOKENS, Unit.USD_PER_REQUEST):
        return f"{usd(value)} {_UNITS[unit]}"
    shown = value * 1000 if unit is Unit.SECONDS else value
    return f"{plain(shown)}{'' if unit is Unit.SPEED else ' '}{_UNITS[unit]}"


_PROSE = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "itl": "ITL",
    "itl_token": "ITL per token",
    "e2e_latency": "E2E latency",
    "ttft_scheduled": "scheduled TTFT",
    "ttft_first_turn": "first-turn TTFT",
    "ttft_later_turns": "later-turn TTFT",
    "e2e_latency_scheduled": "scheduled E2E latency",
    "output_throughput_per_gpu": "output throughput per GPU",
    "cost_per_million_output_tokens": "cost per million output tokens",
    "capacity_in_flight": "capacity",
    "capacity_speed": "capacity",
    "capacity_tokens": "output throughput at capacity",
    "capacity_per_gpu": "capacity per GPU",
    "capacity_in_flight_per_gpu": "capacity per GPU",
    "capacity_speed_per_gpu": "capacity per GPU",
    "capacity_tokens_per_gpu": "output throughput at capacity per GPU",
}


def metric_name(metric: str, statistic: str | None = None) -> str:
    """A metric in prose: ``p99 TTFT``, ``output throughput``."""
    name = _PROSE.get(metric, metric.replace("_", " "))
    return f"{statistic} {name}" if statistic else name


def chance(probability: float) -> str:
    """``85%``; an estimate is never certain: ``over 99%``, ``under 1%``."""
    if probability > 0.99:
        return "over 99%"
    return "under 1%" if probability < 0.01 else f"{probability * 100:.0f}%"


def percent(ratio: float, *, sign: bool = True) -> str:
    """``+12%``; one decimal below ten. What rounds to zero has no sign."""
    if ratio == 0:
        return "0%"
    digits = 0 if abs(ratio) >= 0.0995 else 1
    text = f"{ratio * 100:{'+' if sign else ''}.{digits}f}%"
    return "0.0%" if text.lstrip("+-") == "0.0%" else text
