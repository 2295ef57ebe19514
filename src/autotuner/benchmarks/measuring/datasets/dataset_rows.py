"""Rows of a dataset in their different formats, as prompt or messages with an output length. For rows whose turns are
all sent, see :mod:`autotuner.benchmarks.measuring.datasets.conversation_rows`.

Formats: ``prompt`` or ``messages`` with a length; a request of an OpenAI batch file (``body``); a ShareGPT
conversation, of which the first question with an answer is used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

LENGTHS = (
    "max_tokens", "max_completion_tokens", "output_tokens", "output_len", "output_length", "expected_output_len",
    "max_new_tokens", "n_predict",
)  # fmt: skip
"""Fields for the output length of a row, as various tools and APIs name it. One is enough."""
FORMAT = 'write one {"prompt": "...", "max_tokens": 64} per line'
CHARACTERS_PER_TOKEN = 4
"""To estimate the length of an answer from its text; about right for English."""
_TRACE = (
    {"timestamp", "input_length"},
    {"timestamp", "hash_ids"},
    {"timestamp", "input_tokens"},
    {"TIMESTAMP", "ContextTokens"},
)
BATCH = frozenset({"custom_id", "method", "url", "body"})
_REPLACED = frozenset({"model", "stream", "stream_options"})
"""Fields of a request body that the load generator sets itself."""
_ENDPOINTS = ("/chat/completions", "/completions")
TURNS = ("conversations", "conversation")
"""Fields that hold a ShareGPT conversation."""
_ROLES = {
    **dict.fromkeys(["human", "user"], "user"),
    **dict.fromkeys(["gpt", "assistant", "chatgpt", "bing", "bard", "bot", "model"], "assistant"),
    "system": "system",
}


class RowError(ValueError):
    """A row that cannot be sent."""

    def __init__(self, why: str, remedy: str = FORMAT, *, value: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy
        self.value = value


@dataclass(frozen=True, slots=True)
class Row:
    """The part of a row that is sent."""

    used: dict[str, Any]
    """``prompt`` or ``messages``, and ``max_tokens`` if the row has a length; or ``turns``, each of which has
    ``messages`` and perhaps ``max_tokens``."""
    unsent: tuple[str, ...] = ()
    """Names of the other fields."""
    answers: tuple[str | None, ...] = ()
    """Of each turn, the text of the dataset's own answer, if ``max_tokens`` is estimated from it."""

    @property
    def estimated(self) -> bool:
        """Whether a length is estimated."""
        return any(answer is not None for answer in self.answers)

    @property
    def outputs(self) -> list[int]:
        """Lengths of the answers, as far as they are given or estimated."""
        return [turn["max_tokens"] for turn in self.used.get("turns", (self.used,)) if "max_tokens" in turn]

    def with_lengths(self, count: Callable[[str], int]) -> "Row":
        """The row with counted instead of estimated lengths."""
        turns = self.used.get("turns")
        pairs = zip(turns or (self.used,), self.answers, strict=True)
        counted = [turn if text is None else {**turn, "max_tokens": max(1, count(text))} for turn, text in pairs]
        return Row(counted[0] if turns is None else {"turns": counted}, self.unsent, self.answers)


def read_row(found: Any) -> Row | None:
    """The row; None for a conversation without an answered question. Raises :class:`RowError`."""
    if not isinstance(found, dict):
        raise RowError("not a JSON object")
    for name in TURNS:
        if isinstance(found.get(name), list):
            return _conversation(found, found[name])
    if isinstance(found.get("body"), dict):
        return _batch(found, found["body"])
    if any(kind <= found.keys() for kind in _TRACE) and not found.keys() & {"prompt", "messages"}:
        raise RowError("this is a trace of arrival times and lengths, not a dataset", "replay it with trace:FILE")
    return _plain(found)


def _plain(found: Mapping[str, Any], others: frozenset[str] = frozenset()) -> Row:
    prompt = found.get("prompt")
    messages = found.get("messages")
    if not (isinstance(prompt, str) and prompt) and not (isinstance(messages, list) and messages):
        raise RowError('has neither "prompt" (text) nor "messages" (list)')
    if not isinstance(messages, list | None):
        raise RowError('"messages" must be a list', 'write "messages": [{"role": "user", "content": "..."}]')
    if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages or ()):
        raise RowError('a message is not an object with a "role"', 'write {"role": "user", "content": "..."}')
    used = {name: found[name] for name in ("prompt", "messages") if name in found}
    length = length_of(found)
    if length is not None:
        used["max_tokens"] = length
    return Row(used, tuple(n for n in found if n not in ("prompt", "messages", *LENGTHS) and n not in others))


def _batch(found: Mapping[str, Any], body: Mapping[str, Any]) -> Row:
    url = found.get("url")
    if isinstance(url, str) and not url.rstrip("/").endswith(_ENDPOINTS):
        remedy = "keep the requests to /v1/chat/completions and /v1/completions"
        raise RowError("a batch request to an endpoint that is not measured", remedy, value=url)
    row = _plain(body, _REPLACED)
    return Row(row.used, (*row.unsent, *(name for name in found if name not in BATCH)))


def _conversation(found: Mapping[str, Any], turns: list[Any]) -> Row | None:
    messages: list[dict[str, str]] = []
    for turn, answer in pairwise(turns):
        role, text = turn_of(turn)
        if role == "system" and not messages:
            messages.append({"role": role, "content": text})
        elif role == "user" and text:
            answer_role, answer_text = turn_of(answer)
            if answer_role == "assistant" and answer_text:
                asked = {"messages": [*messages, {"role": role, "content": text}]} if messages else {"prompt": text}
                length = length_of(found)
                estimated = length is None
                tokens = estimated_tokens(answer_text) if length is None else length
                return Row({**asked, "max_tokens": tokens}, answers=(answer_text,) if estimated else ())
    return None


def estimated_tokens(answer: str) -> int:
    """The length of an answer in tokens, from its text."""
    return len(answer) // CHARACTERS_PER_TOKEN + 1


def turn_of(turn: Any) -> tuple[str, str]:
    """Role and text of a ShareGPT turn. Raises :class:`RowError`."""
    if not isinstance(turn, dict):
        raise RowError("a turn of the conversation is not an object", 'write {"from": "human", "value": "..."}')
    name = turn.get("from", turn.get("role"))
    text = turn.get("value", turn.get("content"))
    if not isinstance(name, str) or not isinstance(text, str | None):
        why = 'a turn of the conversation lacks "from" or has no text in "value"'
        raise RowError(why, 'write {"from": "human", "value": "..."}')
    return _ROLES.get(name, name), text or ""


def length_of(found: Mapping[str, Any]) -> int | None:
    """The output length that a row or a turn gives. Raises :class:`RowError`."""
    given = {name: found[name] for name in LENGTHS if found.get(name) is not None}
    for name, value in given.items():
        if type(value) is not int or value < 1:
            raise RowError(f'"{name}" must be an integer of at least 1', "", value=str(value))
    if len(set(given.values())) > 1:
        both = ", ".join(f"{name} {value}" for name, value in given.items())
        raise RowError(f"conflicting output lengths: {both}", "keep one of them")
    return next(iter(given.values()), None)
