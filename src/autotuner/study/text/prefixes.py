"""Options of synthetic scenarios as text: ``N(512,128)/(128,32) prefixes=50 prefix_tokens=1000 zipf=1.2 model=a``."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError
from autotuner.study.base import number_text
from autotuner.study.text import conversations as conversation_forms
from autotuner.study.workload import Scenario, SharedPrefixes

LENGTHS = "lengths"
"""Key of the long form that holds the scenario itself."""
_PREFIX_OPTIONS = ("prefixes", "prefix_tokens", "zipf")
OPTIONS = (*_PREFIX_OPTIONS, "model", *conversation_forms.OPTIONS)
_LIMITS = {"prefixes": (1, 100_000), "prefix_tokens": (16, 100_000_000)}
_STEEPEST = 10
_REMEDY = "write e.g. D(128,48) prefixes=50 prefix_tokens=1000"


def prefixes_text(prefixes: SharedPrefixes | None) -> str:
    """The canonical text of the options, with a space in front; empty for None."""
    if prefixes is None:
        return ""
    popularity = "" if prefixes.zipf == 1 else f" zipf={number_text(prefixes.zipf)}"
    return f" prefixes={prefixes.count} prefix_tokens={prefixes.tokens}{popularity}"


def with_options(scenario: Scenario, options: Mapping[str, Any], duration: Callable[[Any], float]) -> Scenario:
    """The scenario with options.

    Args:
        scenario: The scenario alone.
        options: As written or as numbers.
        duration: Parses a duration.

    Raises:
        ValueError: They are not valid options.
    """
    for name in options:
        if name not in OPTIONS:
            raise InvalidValueError(f'unknown option "{name}"', remedy=did_you_mean(name, list(OPTIONS)))
    prefixes = _prefixes({name: value for name, value in options.items() if name in _PREFIX_OPTIONS})
    turns = {name: value for name, value in options.items() if name in conversation_forms.OPTIONS}
    conversations = conversation_forms.made_conversations(turns, duration)
    model = options.get("model")
    if model is not None and (not isinstance(model, str) or not model or len(model.split()) != 1):
        raise InvalidValueError("a model's name is text without spaces", remedy="write e.g. model=my-adapter")
    behind = f"{prefixes_text(prefixes)}{conversation_forms.conversations_text(conversations)}"
    text = f"{scenario.text}{behind}{f' model={model}' if model else ''}"
    return scenario.model_copy(
        update={"text": text, "prefixes": prefixes, "conversations": conversations, "model": model}
    )


def _prefixes(options: Mapping[str, Any]) -> SharedPrefixes | None:
    if not options:
        return None
    for name in ("prefixes", "prefix_tokens"):
        if name not in options:
            raise InvalidValueError(f"shared prefixes need {name}", remedy=_REMEDY)
    return SharedPrefixes(
        count=_whole("prefixes", options["prefixes"]),
        tokens=_whole("prefix_tokens", options["prefix_tokens"]),
        zipf=_exponent(options.get("zipf", 1)),
    )


def long_form(value: Mapping[Any, Any]) -> tuple[str, dict[str, Any]]:
    """The lengths and the options of ``{lengths: .., prefixes: .., prefix_tokens: .., model: ..}``. Raises
    ``ValueError``."""
    known = (LENGTHS, *OPTIONS)
    for key in value:
        if key not in known:
            raise InvalidValueError(f'unknown key "{key}"', remedy=did_you_mean(str(key), list(known)))
    lengths = value.get(LENGTHS)
    if not isinstance(lengths, str):
        raise InvalidValueError(
            "has no lengths", remedy='write {lengths: "D(128,48)", prefixes: 50, prefix_tokens: 1000}'
        )
    return lengths, {name: value[name] for name in OPTIONS if value.get(name) is not None}


def _whole(name: str, value: Any) -> int:
    low, high = _LIMITS[name]
    number = _number(value)
    if number is None or not number.is_integer() or not low <= number <= high:
        raise InvalidValueError(f"{name} must be a whole number from {low} to {high}", remedy=_REMEDY)
    return int(number)


def _exponent(value: Any) -> float:
    number = _number(value)
    if number is None or not 0 <= number <= _STEEPEST:
        raise InvalidValueError(
            f"zipf must be a number from 0 to {_STEEPEST}",
            remedy="write e.g. zipf=1.2; with 0, all are equally popular",
        )
    return number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
