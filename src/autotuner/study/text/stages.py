"""The text form of a load whose rate changes: ``2/s:10s,8/s:20s,2..10/s:30s``, followed by its arrivals."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError
from autotuner.study.workload import Arrivals, Stage, Stages

PREFIX = "stages="
_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_STAGE = re.compile(rf"({_NUMBER})\s*(?:\.\.\s*({_NUMBER}))?\s*(?:/\s*s)?\s*:\s*([^,:]+)")
_BEHIND = re.compile(
    rf"(?P<stages>.*?)(?:\s+(?P<kind>[a-z]{{2,}}))?(?:\s+burstiness\s*=\s*(?P<shape>{_NUMBER}))?", re.DOTALL
)
_REMEDY = "write e.g. 2/s:10s,8/s:20s or, for a ramp, 2..10/s:30s"
_LONG_REMEDY = "write e.g. {rate: 2, for: 10s} or, for a ramp, {from: 2, to: 10, for: 30s}"
_KEYS = ("rate", "from", "to", "for")
_LEVEL_KEYS = ("stages", "arrivals", "burstiness")
_FASTEST = 1_000_000
_MOST = 1000

ParseDuration = Callable[[Any], float]


def parse_stages(text: str, duration: ParseDuration) -> Stages:
    """The load of a text.

    Args:
        text: What follows ``stages=``.
        duration: Parses the length of a stage.

    Raises:
        ValueError: It is not such a load.
    """
    match = _BEHIND.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError("not a list of stages", remedy=_REMEDY)
    terms = match["stages"].split(",")
    stages = [_stage(number, term, duration) for number, term in enumerate(terms, start=1)]
    return _load(stages, match["kind"], match["shape"])


def long_stages(value: Any, duration: ParseDuration) -> Stages:
    """The load of a text, of ``[{rate: 2, for: 10s}, {from: 2, to: 10, for: 30s}]``, or of a mapping that has one of
    these as ``stages``, beside ``arrivals`` and ``burstiness``. Parameters as for :func:`parse_stages`."""
    if isinstance(value, str):
        return parse_stages(value.removeprefix(PREFIX), duration)
    if isinstance(value, Mapping):
        _known(value, _LEVEL_KEYS)
        found = long_stages(value.get("stages"), duration)
        if "arrivals" not in value and "burstiness" not in value:
            return found
        return _load(list(found.stages), value.get("arrivals"), value.get("burstiness"))
    if not isinstance(value, list):
        raise InvalidValueError("not a list of stages", remedy=_REMEDY)
    return _load([_long_stage(number, stage, duration) for number, stage in enumerate(value, start=1)], None, None)


def _stage(number: int, term: str, duration: ParseDuration) -> Stage:
    match = _STAGE.fullmatch(term.strip())
    if match is None:
        raise InvalidValueError(f"stage {number} is not a rate and a duration", remedy=_REMEDY)
    begin = float(match[1])
    return _made(number, begin, begin if match[2] is None else float(match[2]), match[3], duration)


def _long_stage(number: int, stage: Any, duration: ParseDuration) -> Stage:
    if isinstance(stage, str):
        return _stage(number, stage, duration)
    if not isinstance(stage, Mapping):
        raise InvalidValueError(f"stage {number} is not a rate and a duration", remedy=_LONG_REMEDY)
    _known(stage, _KEYS)
    if stage.keys() not in ({"rate", "for"}, {"from", "to", "for"}):
        raise InvalidValueError(f"stage {number} needs a rate, or from and to, and for", remedy=_LONG_REMEDY)
    begin = stage.get("rate", stage.get("from"))
    return _made(number, begin, stage.get("to", begin), stage["for"], duration)


def _made(number: int, begin: Any, end: Any, span: Any, duration: ParseDuration) -> Stage:
    for rate in (begin, end):
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= _FASTEST:
            why = f"stage {number} needs rates from 0 to {_FASTEST} requests per second"
            raise InvalidValueError(why, remedy=_REMEDY)
    try:
        span_s = duration(span)
    except ValueError as error:
        why = error.why if isinstance(error, InvalidValueError) else str(error)
        raise InvalidValueError(f"the duration of stage {number}: {why}", remedy=_REMEDY) from None
    if span_s <= 0:
        raise InvalidValueError(f"stage {number} has no duration", remedy=_REMEDY)
    return Stage(begin=float(begin), end=float(end), span_s=span_s)


def _load(stages: list[Stage], kind: Any, shape: Any) -> Stages:
    if not 1 <= len(stages) <= _MOST:
        raise InvalidValueError(f"has {len(stages)} stages, not 1 to {_MOST}", remedy=_REMEDY)
    kind = Arrivals.POISSON.value if kind is None else kind
    if kind not in list(Arrivals):
        raise InvalidValueError(f'unknown arrivals "{kind}"', remedy=did_you_mean(str(kind), list(Arrivals)))
    if shape is not None and kind != Arrivals.GAMMA.value:
        raise InvalidValueError("burstiness is the shape of gamma arrivals", remedy="add arrivals: gamma")
    found = Stages(stages=tuple(stages), arrivals=Arrivals(kind), burstiness=_shape(shape))
    if found.requests < 1:
        raise InvalidValueError("sends no request", remedy="raise the rates or the durations")
    return found


def _shape(shape: Any) -> float:
    if shape is None:
        return 1.0
    number = 0.0
    if isinstance(shape, int | float | str) and not isinstance(shape, bool):
        with suppress(ValueError):
            number = float(shape)
    if not 0 < number <= _FASTEST:
        raise InvalidValueError("burstiness must be above 0 and at most 1000000", remedy="write e.g. burstiness: 0.5")
    return number


def _known(value: Mapping[Any, Any], keys: tuple[str, ...]) -> None:
    for key in value:
        if key not in keys:
            raise InvalidValueError(f'unknown key "{key}"', remedy=did_you_mean(str(key), list(keys)))
