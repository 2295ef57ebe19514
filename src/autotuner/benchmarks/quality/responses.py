"""Tokens and log-probabilities in the responses of several servers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.study.quality.answers import Token, words_of

_DIGITS = 6
"""Decimal places that are kept of a log-probability."""


def tokens_of(response: Any) -> tuple[Token, ...]:
    """The tokens of an answer; its words if the response has no log-probabilities, and nothing if it has no text."""
    choice = _choice(response)
    found = choice.get("logprobs")
    listed = found.get("content") if isinstance(found, Mapping) else choice.get("completion_probabilities")
    if entries := [entry for entry in _items(listed) if isinstance(entry, Mapping)]:
        return tuple(_listed(entry) for entry in entries)
    if isinstance(found, Mapping) and _items(found.get("tokens")):
        return _columns(found)
    return words_of(text_of(response))


def text_of(response: Any) -> str:
    """The text of an answer; empty if there is none."""
    choice = _choice(response)
    text = choice.get("text", choice.get("content"))
    return text if isinstance(text, str) else ""


def _choice(response: Any) -> Mapping[str, Any]:
    """The first answer; llama.cpp's own endpoint has no list of them."""
    if not isinstance(response, Mapping):
        return {}
    choices = _items(response.get("choices"))
    return choices[0] if choices and isinstance(choices[0], Mapping) else response


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _listed(entry: Mapping[str, Any]) -> Token:
    """One token of llama.cpp, on either endpoint. Its texts are not unique, but its ids are."""
    likely = [one for one in _items(entry.get("top_logprobs")) if isinstance(one, Mapping)]
    top = {_name(one): p for one in likely if (p := _logprob(one.get("logprob"))) is not None}
    return Token(text=_name(entry), top=top)


def _columns(found: Mapping[str, Any]) -> tuple[Token, ...]:
    """The older form of OpenAI, with a list of each kind of figure."""
    tops = _items(found.get("top_logprobs"))
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
