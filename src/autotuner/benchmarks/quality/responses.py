"""Tokens and log-probabilities in the responses of several servers."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.study.quality.answers import Token

_DIGITS = 6
"""Decimal places that are kept of a log-probability."""
_WORD = re.compile(r"\S+\s*|\s+")


def tokens_of(response: Any) -> tuple[Token, ...]:
    """The tokens of an answer; its words if the response has no log-probabilities, and nothing if it has no text."""
    if not isinstance(response, Mapping):
        return ()
    choices = response.get("choices")
    choice = choices[0] if isinstance(choices, Sequence) and choices and isinstance(choices[0], Mapping) else {}
    found = choice.get("logprobs")
    listed = found.get("content") if isinstance(found, Mapping) else response.get("completion_probabilities")
    if isinstance(listed, Sequence) and listed:
        return tuple(_listed(entry) for entry in listed if isinstance(entry, Mapping))
    if isinstance(found, Mapping) and isinstance(found.get("tokens"), Sequence):
        return _columns(found)
    text = choice.get("text") if choice else response.get("content")
    return tuple(Token(text=word) for word in _WORD.findall(text)) if isinstance(text, str) else ()


def _listed(entry: Mapping[str, Any]) -> Token:
    """One token of llama.cpp, on either endpoint. Its texts are not unique, but its ids are."""
    top = {_name(t): p for t in entry.get("top_logprobs") or () if (p := _logprob(t.get("logprob"))) is not None}
    return Token(text=_name(entry), top=top)


def _columns(found: Mapping[str, Any]) -> tuple[Token, ...]:
    """The older form of OpenAI, with a list of each kind of figure."""
    tops = found.get("top_logprobs")
    tops = tops if isinstance(tops, Sequence) else ()
    tokens = []
    for number, text in enumerate(found["tokens"]):
        given = tops[number] if number < len(tops) and isinstance(tops[number], Mapping) else {}
        top = {str(t): p for t, value in given.items() if (p := _logprob(value)) is not None}
        tokens.append(Token(text=str(text), top=top))
    return tuple(tokens)


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["id"] if "id" in entry else entry.get("token", ""))


def _logprob(value: Any) -> float | None:
    """A log-probability; None for one that is not a finite number of at most 0, but for rounding."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(min(0.0, float(value)), _DIGITS)
