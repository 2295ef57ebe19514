"""Short text forms of a study file: durations, scenarios, load levels, objectives and SLOs.

Each ``parse_x`` is the inverse of the model's ``text``, and raises ``ValueError`` with what is wrong and what to write
instead.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError
from autotuner.plain_text import shortened
from autotuner.study.metric import METRICS, STATISTICS, Direction, Metric, Unit
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.text import datasets, mixes
from autotuner.study.text import documents as document_forms
from autotuner.study.text import images as image_forms
from autotuner.study.text import prefixes as prefix_forms
from autotuner.study.text import stages as stage_forms
from autotuner.study.text.options import path_text, split_options
from autotuner.study.text.slices import parse_slice
from autotuner.study.text.traces import PREFIX, long_form, made_part, split_trace, trace_text
from autotuner.study.workload import (
    Arrivals,
    CapacityLoad,
    Concurrency,
    LoadLevel,
    RequestRate,
    Scenario,
    Stages,
    TokenLengths,
    TraceSpeed,
    Users,
)

_UNITS = {"us": "1e-6", "µs": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "min": "60", "h": "3600"}
_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+"
_QUANTITY = re.compile(rf"({_NUMBER})\s*([A-Za-zµ%/]*|in flight)")


def parse_duration(value: Any) -> float:
    """Seconds of ``500ms``, ``2s``, ``1.5 s``, ``5m``, ``1h`` or a plain number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _within_a_year(value)
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match and (match[2] in _UNITS or not match[2]):
        return _within_a_year(_scaled(match[1], _UNITS.get(match[2], "1")))
    raise InvalidValueError("not a duration", remedy="write e.g. 500ms, 2s, 5m, 1h, or seconds as a number")


_YEAR_S = 366 * 24 * 3600


def _within_a_year(seconds: float) -> float:
    if not seconds <= _YEAR_S:  # also true for nan; longer times would overflow a clock
        raise InvalidValueError("longer than a year", remedy="write e.g. 500ms, 2s, 5m, 1h, or seconds as a number")
    return float(seconds)


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=float | str)]
"""Seconds, written as :func:`parse_duration` reads them; the type of every duration in a plugin's settings."""


def parse_share(value: Any) -> float:
    """A share of ``10%``, ``10 %`` or ``0.1``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match and match[2] in ("%", ""):
        return _scaled(match[1], "0.01" if match[2] else "1")
    raise InvalidValueError("not a share", remedy="write e.g. 10% or 0.1")


Share = Annotated[float, BeforeValidator(parse_share, json_schema_input_type=float | str)]
"""A share, written as :func:`parse_share` reads it."""


def _scaled(number: str, factor: str) -> float:
    """The product, computed in decimals so that 12.3ms is exactly 0.0123."""
    try:
        found = float(Decimal(number) * Decimal(factor))
    except (InvalidOperation, OverflowError):
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{shortened(number, 40)} is out of range")
    return found


def _whole(digits: str) -> int:
    if len(digits) <= 18:  # a longer number exceeds every limit anyway
        return int(digits)
    return -(10**18) if digits.startswith("-") else 10**18


_PAIR = r"\(\s*(-?[0-9]+)\s*,\s*(-?[0-9]+)\s*\)"
_FIXED = re.compile(rf"D\s*{_PAIR}", re.IGNORECASE)
_SPREAD = re.compile(rf"([NU])\s*{_PAIR}(?:\s*/\s*{_PAIR})?", re.IGNORECASE)
_OTHER_TASKS = {"P": "prefix-repetition"}
_GRAMMAR = (
    "write D(in,out), N(mean,std)/(mean,std), U(min,max)/(min,max), dataset:FILE or trace:FILE; "
    "for embeddings E(tokens), for rankings R(document,query), for images I(width,height)"
)


def parse_scenario(text: str) -> Scenario:
    """A scenario in genai-bench's grammar; lengths in tokens."""
    bare = text.strip()
    if bare.startswith(datasets.PREFIX):
        return datasets.parse_dataset(bare.removeprefix(datasets.PREFIX), parse_duration)
    if bare.startswith(PREFIX):
        return _trace(split_trace(bare))
    if bare.startswith(mixes.PREFIX):
        return mixes.parse_mix(bare.removeprefix(mixes.PREFIX), _any_scenario, parse_share)
    lengths, options = split_options(re.sub(r",\s+", ",", bare))
    if document_forms.is_documents(lengths):
        return document_forms.parse_documents(lengths, options)
    if image_forms.is_images(lengths):
        return image_forms.parse_images(lengths, options)
    return prefix_forms.with_options(_synthetic(lengths), options, parse_duration)


def _synthetic(bare: str) -> Scenario:
    if match := _FIXED.fullmatch(bare):
        lengths = [TokenLengths(kind="fixed", a=_size(n)) for n in match.groups()]
        return _scenario(f"D({lengths[0].a},{lengths[1].a})", *lengths)
    if match := _SPREAD.fullmatch(bare):
        return _spread(match[1].upper(), [_whole(n) for n in match.groups()[1:] if n is not None])
    other = re.match(r"([A-Z])\s*\(", bare)
    if other and other[1] in _OTHER_TASKS:
        raise InvalidValueError(f"{_OTHER_TASKS[other[1]]} are not supported, only text generation", remedy=_GRAMMAR)
    raise InvalidValueError("not a scenario", remedy=_GRAMMAR)


def parse_long_scenario(value: Mapping[Any, Any]) -> Scenario:
    """``{trace: FILE, from: 10m, to: 40m, sample: 10%}`` or ``{lengths: D(..), prefixes: 50, prefix_tokens: 1000}``."""
    if document_forms.is_documents(value.get(document_forms.LENGTHS)):
        return document_forms.long_documents(value)
    if image_forms.is_images(value.get(image_forms.LENGTHS)):
        return image_forms.long_images(value)
    if datasets.KEY in value:
        return datasets.long_dataset(value, parse_duration)
    if value.keys() & {prefix_forms.LENGTHS, *prefix_forms.OPTIONS}:
        lengths, options = prefix_forms.long_form(value)
        return prefix_forms.with_options(_synthetic(lengths.strip()), options, parse_duration)
    if mixes.KEY in value:
        return mixes.long_mix(value, _any_scenario, parse_share)
    return _trace(long_form(value))


def _any_scenario(value: Any) -> Scenario:
    if isinstance(value, Mapping):
        return parse_long_scenario(value)
    if not isinstance(value, str):
        raise InvalidValueError("not a scenario", remedy=_GRAMMAR)
    return parse_scenario(value)


def _trace(given: Mapping[str, Any]) -> Scenario:
    path_text(given["file"])
    end = given.get("to")
    part = made_part(
        given,
        begin_s=parse_duration(given.get("from", 0)),
        end_s=None if end is None else parse_duration(end),
        sample=parse_ratio(given.get("sample", 1)),
    )
    return Scenario(text=trace_text(part), trace=part)


def _spread(letter: str, n: list[int]) -> Scenario:
    if letter == "N":
        if len(n) != 4:
            raise InvalidValueError(
                "N needs the lengths of prompts and of responses", remedy="write N(mean,std)/(mean,std)"
            )
        for mean, deviation in (n[:2], n[2:]):
            _size(mean)
            if deviation < 0:
                raise InvalidValueError("a standard deviation cannot be negative", remedy="write 0 or more")
        text = f"N({n[0]},{n[1]})/({n[2]},{n[3]})"
        return _scenario(text, *(TokenLengths(kind="normal", a=n[i], b=n[i + 1]) for i in (0, 2)))
    if len(n) == 2:
        n = [1, n[0], 1, n[1]]
    for low, high in (n[:2], n[2:]):
        _size(low)
        if low > high:
            raise InvalidValueError(f"the smallest length, {low}, is above the largest, {high}", remedy="swap them")
    text = f"U({n[0]},{n[1]})/({n[2]},{n[3]})"
    return _scenario(text, *(TokenLengths(kind="uniform", a=n[i], b=n[i + 1]) for i in (0, 2)))


def _scenario(text: str, prompt: TokenLengths, answer: TokenLengths) -> Scenario:
    if max(prompt.a, prompt.b, answer.a, answer.b) > 100_000_000:
        raise InvalidValueError("a length above 100000000 tokens", remedy="write lengths in tokens")
    return Scenario(text=text, input=prompt, output=answer)


def _size(text: str | int) -> int:
    found = _whole(text) if isinstance(text, str) else text
    if found < 1:
        raise InvalidValueError("a length must be at least 1 token", remedy="write 1 or more")
    return found


_LEVEL = re.compile(
    rf"concurrency\s*=\s*(?P<n>[0-9]+)"
    rf"|rate\s*=\s*(?P<rate>{_NUMBER})(?:/s)?(?:\s+(?P<kind>[a-z]+))?(?:\s+burstiness\s*=\s*(?P<shape>{_NUMBER}))?"
    rf"|speed\s*=\s*(?P<speed>{_NUMBER})"
    rf"|users\s*=\s*(?P<users>[0-9]+)"
)


def parse_level(text: str) -> LoadLevel:
    """A load level: ``concurrency=8``, ``rate=4/s poisson``, ``stages=2/s:10s,8/s:9s`` or, for a trace, ``speed=2``."""
    bare = " ".join(text.split())
    if bare.startswith(stage_forms.PREFIX):
        return stage_forms.parse_stages(bare.removeprefix(stage_forms.PREFIX), parse_duration)
    if bare == CapacityLoad().text:
        return CapacityLoad()
    match = _LEVEL.fullmatch(bare)
    if match is None:
        raise InvalidValueError("not a load level", remedy="write e.g. concurrency=8 or rate=4")
    if match["n"]:
        count = _whole(match["n"])
        if not 1 <= count <= 100_000:
            raise ValueError("must be between 1 and 100000 requests in flight")
        return Concurrency(in_flight=count)
    if match["users"]:
        count = _whole(match["users"])
        if not 1 <= count <= 100_000:
            raise ValueError("must be between 1 and 100000 users")
        return Users(count=count)
    if match["speed"]:
        return TraceSpeed(speed=checked_speed(_scaled(match["speed"], "1")))
    kind = match["kind"] or Arrivals.POISSON.value
    if kind not in list(Arrivals):
        raise InvalidValueError(f'unknown arrivals "{kind}"', remedy=did_you_mean(kind, list(Arrivals)))
    rate = _scaled(match["rate"], "1")
    shape = _scaled(match["shape"] or "1", "1")
    if not 0 < rate <= 1_000_000 or not 0 < shape <= 1_000_000:
        raise ValueError("a rate and its burstiness must be above 0 and at most 1000000")
    return RequestRate(rate=rate, arrivals=Arrivals(kind), burstiness=shape)


def parse_stages(value: Any) -> Stages:
    """A load whose rate changes: ``2/s:10s,8/s:20s``, or its long form."""
    return stage_forms.long_stages(value, parse_duration)


def checked_speed(value: Any) -> float:
    """How many times as fast a trace is replayed."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1_000_000:
        raise InvalidValueError("a speed must be a number above 0 and at most 1000000", remedy="write e.g. [1, 2]")
    return float(value)


def known_metric(name: str) -> Metric:
    """The metric of this name. Raises ``ValueError`` with the nearest name."""
    if name not in METRICS:
        raise InvalidValueError(f'unknown metric "{name}"', remedy=did_you_mean(name, list(METRICS)))
    return METRICS[name]


def check_statistic(metric: Metric, statistic: str | None, *, needed: str = "") -> None:
    """Raises ``ValueError`` if the statistic does not fit the metric.

    Args:
        metric: The metric.
        statistic: Name of the statistic, if one is given.
        needed: The direction (``min``, ``max``) of an objective, which needs a statistic; empty for an SLO.
    """
    if statistic is not None and not metric.distribution:
        raise InvalidValueError(
            f"{metric.name} has one value per window and takes no statistic", remedy=f"leave {statistic} out"
        )
    if statistic is not None and statistic not in STATISTICS:
        raise InvalidValueError(f'unknown statistic "{statistic}"', remedy=did_you_mean(statistic, STATISTICS))
    if statistic is None and metric.distribution and needed:
        why = f"{metric.name} has one value per request and needs a statistic"
        raise InvalidValueError(f"{why}", remedy=f"write e.g. {needed} p50 {metric.name} or {needed} p99 {metric.name}")


def check_direction(metric: Metric, direction: str) -> None:
    """An objective must want what is better."""
    if direction != metric.better.value:
        better = "lower" if metric.better is Direction.MIN else "higher"
        raise InvalidValueError(f"{better} {metric.name} is better", remedy=f"write {metric.better.value}")


_DIRECTIONS = {
    **dict.fromkeys(["min", "minimize", "minimise"], "min"),  # codespell:ignore
    **dict.fromkeys(["max", "maximize", "maximise"], "max"),  # codespell:ignore
}
_TAIL = r"(?:\s+at\s+(?P<at>.+?))?(?:\s+for\s+(?P<for>\S.*?))?"
_OBJECTIVE = re.compile(rf"(?P<dir>\w+)\s+(?:(?P<stat>\S+)\s+)?(?P<metric>\w+){_TAIL}")
_SLO = re.compile(
    rf"(?:(?P<stat>[^\s<>=]+)\s+)?(?P<metric>[\w-]+)(?:\s+of\s+(?P<of>[^<>=]+?))?\s*(?P<op>[<>=]+)\s*(?P<bound>.+?){_TAIL}"
)


def parse_objective(text: str) -> Objective:
    """An objective: ``max output_throughput``, ``min p99 ttft at concurrency=8``, ``min p50 tpot for D(128,48)``."""
    match = _OBJECTIVE.fullmatch(text.strip())
    if match is None or match["dir"] not in _DIRECTIONS:
        raise InvalidValueError(
            "not an objective", remedy='write e.g. "max output_throughput" or "min p99 ttft at concurrency=8"'
        )
    metric = known_metric(match["metric"])
    direction = _DIRECTIONS[match["dir"]]
    check_statistic(metric, match["stat"], needed=direction)
    check_direction(metric, direction)
    at, scenario = place(match["at"], match["for"])
    return Objective(
        metric=metric.name, statistic=match["stat"], direction=Direction(direction), at=at, scenario=scenario
    )


def parse_slo(text: str) -> SLO:
    """An SLO: ``p99 ttft <= 200ms``, ``p99 ttft of later turns <= 1s``, ``ttft <= 300ms`` (of each, for goodput)."""
    match = _SLO.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError("not an SLO", remedy='write e.g. "p99 ttft <= 200ms"')
    metric = known_metric(match["metric"])
    check_statistic(metric, match["stat"])
    if match["op"] not in list(Comparison):
        raise InvalidValueError(f'"{match["op"]}" is not a comparison', remedy="write <= or >=")
    of = parse_slice(match["of"], metric) if match["of"] else None
    at, scenario = place(match["at"], match["for"])
    comparison = Comparison(match["op"])
    check_comparison(metric, comparison)
    return SLO(
        metric=metric.name,
        statistic=match["stat"],
        comparison=comparison,
        threshold=parse_threshold(match["bound"], metric),
        of=of,
        at=at,
        scenario=scenario,
    )


def place(at: str | None, scenario: str | None) -> tuple[str | None, str | None]:
    """Load level and scenario in canonical spelling."""
    return parse_level(at).text if at else None, parse_scenario(scenario).text if scenario else None


def check_comparison(metric: Metric, comparison: Comparison) -> None:
    """Raises ``ValueError`` for a bound that would reject good values and accept bad ones."""
    wanted: Literal["<=", ">="] = "<=" if metric.better is Direction.MIN else ">="
    if comparison.value != wanted:
        better = "lower" if metric.better is Direction.MIN else "higher"
        raise InvalidValueError(
            f"{better} {metric.name} is better, so this bound would reject good results", remedy=f"write {wanted}"
        )


_RATES = {
    Unit.TOKENS_PER_SECOND: ("", "tokens/s", "tok/s"),
    Unit.REQUESTS_PER_SECOND: ("", "requests/s", "req/s"),
    Unit.DOCUMENTS_PER_SECOND: ("", "documents/s", "docs/s"),
    Unit.IN_FLIGHT: ("", "in flight"),
    Unit.SPEED: ("", "x", "x speed"),
    Unit.JOULES_PER_TOKEN: ("", "J/token", "J"),
    Unit.USD_PER_MILLION_TOKENS: ("", "USD"),
    Unit.USD_PER_REQUEST: ("", "USD"),
}


def parse_threshold(value: Any, metric: Metric) -> float:
    """A bound in the metric's unit. Times must be written with a unit."""
    text = value.strip() if isinstance(value, str) else str(value)
    match = None if isinstance(value, bool) else _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidValueError(f"{text} is not a number with a unit", remedy=f"write e.g. {_example(metric)}")
    number, unit = match.groups()
    if metric.unit is Unit.SECONDS:
        if unit not in _UNITS:
            why = f"{text} has no unit" if not unit else f'unknown unit "{unit}"'
            raise InvalidValueError(why, remedy=f"write the unit, e.g. {number}ms or {number}s")
        found = _scaled(number, _UNITS[unit])
    elif metric.unit is Unit.RATIO:
        if unit not in ("", "%"):
            raise InvalidValueError(f'unknown unit "{unit}"', remedy="write 0.99 or 99%")
        found = _scaled(number, "0.01" if unit else "1")
        if found > 1:
            raise InvalidValueError(f"{text} is above 1", remedy="write 0.99 or 99%")
    elif unit in _RATES[metric.unit]:
        found = _scaled(number, "1")
    else:
        raise InvalidValueError(f'unknown unit "{unit}"', remedy=f"{metric.name} is in {metric.unit.value}")
    if found <= 0:
        raise InvalidValueError("a bound must be above 0", remedy="write a larger one, or leave it out")
    return found


def _example(metric: Metric) -> str:
    return {Unit.SECONDS: "200ms", Unit.RATIO: "99%"}.get(metric.unit, f"100 {metric.unit.value}")


def parse_ratio(value: Any) -> float:
    """A ratio from 0 to 1: ``0.99`` or ``99%``."""
    text = value.strip() if isinstance(value, str) else str(value)
    match = None if isinstance(value, bool) else _QUANTITY.fullmatch(text)
    if match is None or match[2] not in ("", "%"):
        raise InvalidValueError("not a ratio", remedy="write 0.99 or 99%")
    found = _scaled(match[1], "0.01" if match[2] else "1")
    if found > 1:
        percent = not match[2] and found <= 100
        raise InvalidValueError("above 1", remedy=f"write {match[1]}%" if percent else "write 0.99 or 99%")
    return found
