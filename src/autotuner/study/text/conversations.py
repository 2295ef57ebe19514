"""Options of scenarios that are conversations: ``N(512,128)/(128,32) turns=U(2,6) think=U(2s,8s) later=N(64,16)``."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from autotuner.invalid_value import InvalidValueError
from autotuner.study.base import number_text
from autotuner.study.workload import Conversations, Pauses, TokenLengths

OPTIONS = ("turns", "think", "later")
ALL = "all"
"""Number of turns of a recorded conversation: all that its row has."""
_MOST_TURNS = 1000
_LONGEST = 100_000_000
_SPREAD = re.compile(r"([NU])\s*\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)", re.IGNORECASE)
_REMEDY = "write e.g. D(128,48) turns=U(2,6) think=U(2s,8s) later=N(64,16)"
_KINDS: dict[str, Literal["normal", "uniform"]] = {"N": "normal", "U": "uniform"}

ParseDuration = Callable[[Any], float]


def conversations_text(conversations: Conversations | None) -> str:
    """The canonical text of the options, with a space in front; empty for None."""
    if conversations is None:
        return ""
    think = conversations.think
    pauses = "" if think == Pauses() else f" think={_pauses_text(think)}"
    later = "" if conversations.later is None else f" later={_lengths_text(conversations.later)}"
    turns = ALL if conversations.turns is None else _lengths_text(conversations.turns)
    return f" turns={turns}{pauses}{later}"


def made_conversations(options: Mapping[str, Any], duration: ParseDuration) -> Conversations | None:
    """The conversations that options describe, as written or as numbers; None without options.

    Args:
        options: Some of :data:`OPTIONS`.
        duration: Parses a pause.

    Raises:
        ValueError: An option is missing or not valid.
    """
    if not options:
        return None
    if "turns" not in options:
        raise InvalidValueError("conversations need turns", remedy=_REMEDY)
    later = options.get("later")
    return Conversations(
        turns=_lengths("turns", options["turns"], _MOST_TURNS),
        think=_pauses(options.get("think", 0), duration),
        later=None if later is None else _lengths("later", later, _LONGEST),
    )


def recorded_conversations(options: Mapping[str, Any], duration: ParseDuration) -> Conversations | None:
    """As :func:`made_conversations`, for the conversations of a dataset."""
    if not options:
        return None
    if options.get("turns") != ALL:
        why = (
            "a dataset conversation always sends all turns of its row"
            if "turns" in options
            else "conversations need turns"
        )
        raise InvalidValueError(why, remedy=f"write turns={ALL}")
    return Conversations(think=_pauses(options.get("think", 0), duration))


def _lengths(name: str, value: Any, most: int) -> TokenLengths:
    match = _SPREAD.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return TokenLengths(kind="fixed", a=_whole(name, value, 1, most))
    kind = _KINDS[match[1].upper()]
    low = _whole(name, match[2], 1, most)
    second = _whole(name, match[3], 0, most)
    if kind == "uniform" and low > second:
        raise InvalidValueError(
            f"{name}: the smallest value, {low}, is above the largest, {second}", remedy="swap them"
        )
    return TokenLengths(kind=kind, a=low, b=second)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    number = value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        number = int(value.strip()[:18])
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        why = f"{name} must be a whole number from {low} to {high}, U(min,max) or N(mean,std)"
        raise InvalidValueError(why, remedy=_REMEDY)
    return number


def _pauses(value: Any, duration: ParseDuration) -> Pauses:
    match = _SPREAD.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if match is None:
            return Pauses(a=_pause(value, duration))
        kind = _KINDS[match[1].upper()]
        low = _pause(match[2], duration)
        second = _pause(match[3], duration)
    except InvalidValueError as error:
        raise InvalidValueError(f"think: {error.why}", remedy=_REMEDY) from None
    if kind == "uniform" and low > second:
        raise InvalidValueError("think: the shortest pause is above the longest", remedy="swap them")
    return Pauses(kind=kind, a=low, b=second)


def _pause(value: Any, duration: ParseDuration) -> float:
    found = duration(value)
    if found < 0:
        raise InvalidValueError("a pause cannot be negative", remedy=_REMEDY)
    return found


def _lengths_text(lengths: TokenLengths) -> str:
    if lengths.kind == "fixed":
        return str(lengths.a)
    return f"{lengths.kind[0].upper()}({lengths.a},{lengths.b})"


def _pauses_text(pauses: Pauses) -> str:
    if pauses.kind == "fixed":
        return f"{number_text(pauses.a)}s"
    return f"{pauses.kind[0].upper()}({number_text(pauses.a)}s,{number_text(pauses.b)}s)"
