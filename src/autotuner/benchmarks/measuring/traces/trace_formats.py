"""Formats of traces: how one line gives an arrival time, two lengths, and the prefix of its prompt.

- Mooncake: JSON lines with ``timestamp`` (milliseconds), ``input_length``, ``output_length`` and ``hash_ids``, each of
  which stands for a block of 512 tokens.
- Azure LLM inference: CSV with ``TIMESTAMP`` (a date), ``ContextTokens`` and ``GeneratedTokens``.
- BurstGPT: CSV with ``Timestamp`` (seconds), ``Request tokens``, ``Response tokens`` and perhaps ``Session ID``; a
  response of 0 tokens marks a request that failed.
- Ours: JSON lines with ``timestamp`` (seconds), ``input_tokens``, ``output_tokens``, and optionally ``prompt`` or
  ``messages``, ``prefix_ids`` (blocks of ``block_tokens``, 512 by default) and ``session``.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

BLOCK_TOKENS = 512
FORMATS = "Mooncake JSON lines, Azure or BurstGPT CSV, or timestamp, input_tokens and output_tokens in JSON lines"
MAX_TOKENS = 100_000_000
_OWN = frozenset(
    {"timestamp", "input_tokens", "output_tokens", "prompt", "messages", "prefix_ids", "block_tokens", "session"}
)


class LineError(ValueError):
    """A line that is not a request of the trace."""

    def __init__(self, why: str, remedy: str = "", *, value: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy
        self.value = value


@dataclass(slots=True)
class Line:
    """One request of a trace."""

    at_s: float
    """In the trace's own clock."""
    input: int
    """Tokens of the prompt; 0 if only its text is known."""
    output: int
    blocks: Sequence[int | str] = ()
    """Ids of the blocks that the prompt begins with; equal ids at equal positions stand for equal tokens."""
    session: str | None = None
    text: Mapping[str, Any] | None = None
    """``prompt`` or ``messages`` to send as they are."""
    block_tokens: int = BLOCK_TOKENS


ReadLine = Callable[[bytes], Line | None]
"""Reads a line; None for a request that is left out. Raises :class:`LineError`."""


def detect(first: bytes) -> tuple[str, ReadLine, bool]:
    """(name of the format, its reader, whether this line is a header). Raises :class:`LineError`."""
    if first.lstrip().startswith(b"{"):
        found = _object(first)
        if "hash_ids" in found or "input_length" in found:
            return "Mooncake", _mooncake, False
        if "timestamp" in found:
            return "own", _own, False
        raise LineError("no trace format has these fields", f"use {FORMATS}", value=", ".join(list(found)[:4]))
    names = _fields(first.decode("utf-8-sig", errors="replace").strip())
    columns = {name.strip().lower().replace("_", " "): index for index, name in enumerate(names)}
    for name, wanted, session, read in _TABLES:
        if set(wanted) <= columns.keys():
            indexes = [columns[column] for column in wanted]
            return name, _table_reader(read, indexes, columns.get(session), len(names)), True
    raise LineError("not a trace", f"use {FORMATS}", value=first[:40].decode(errors="replace").strip())


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise LineError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise LineError("not a JSON object")
    return found


def _number(found: Mapping[str, Any], name: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LineError(f'"{name}" must be a number', value="" if value is None else str(value))
    return float(value)


def _count(found: Mapping[str, Any], name: str, least: int) -> int:
    value = found.get(name)
    if type(value) is not int or not least <= value <= MAX_TOKENS:
        why = f'"{name}" must be an integer between {least} and {MAX_TOKENS}'
        raise LineError(why, value="" if value is None else str(value))
    return value


def _ids(found: Mapping[str, Any], name: str, tokens: int, size: int) -> Sequence[int | str]:
    ids = found.get(name) or ()
    if not isinstance(ids, list | tuple) or not all(type(i) is int or type(i) is str for i in ids):
        raise LineError(f'"{name}" must be a list of integers or strings')
    if tokens and len(ids) > -(-tokens // size):
        raise LineError(f"{len(ids)} blocks of {size} tokens are more than a prompt of {tokens} tokens has")
    return ids


def _mooncake(line: bytes) -> Line | None:
    found = _object(line)
    tokens = _count(found, "input_length", 1)
    output = _count(found, "output_length", 0)
    ids = _ids(found, "hash_ids", tokens, BLOCK_TOKENS)
    return Line(_number(found, "timestamp") / 1000, tokens, output, ids) if output else None


def _own(line: bytes) -> Line:
    found = _object(line)
    unknown = [name for name in found if name not in _OWN]
    if unknown:
        raise LineError(f'unknown field "{unknown[0]}"', f"the fields are {', '.join(sorted(_OWN))}")
    text = {name: found[name] for name in ("prompt", "messages") if found.get(name)}
    if "prompt" in text and not isinstance(text["prompt"], str):
        raise LineError('"prompt" must be a string')
    messages = text.get("messages", [])
    if not isinstance(messages, list) or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages
    ):
        raise LineError('"messages" must be a list of objects with a "role"')
    tokens = 0 if text and found.get("input_tokens") is None else _count(found, "input_tokens", 1)
    size = BLOCK_TOKENS if found.get("block_tokens") is None else _count(found, "block_tokens", 1)
    session = found.get("session")
    if not (session is None or type(session) in (int, str)):
        raise LineError('"session" must be a string or an integer')
    return Line(
        at_s=_number(found, "timestamp"),
        input=tokens,
        output=_count(found, "output_tokens", 1),
        blocks=_ids(found, "prefix_ids", tokens, size),
        session=None if session is None else str(session),
        text=text or None,
        block_tokens=size,
    )


def _azure_time(text: str) -> float:
    # Seven digits of a second, as Azure writes them, are more than datetime reads.
    whole, _, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    moment = datetime.fromisoformat(whole + rest[len(digits) :])
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return zoned.timestamp() + (float(f"0.{digits}") if digits else 0.0)


def _table_reader(time_of: Callable[[str], float], indexes: Sequence[int], session: int | None, width: int) -> ReadLine:
    at, prompt, answer = indexes

    def read(line: bytes) -> Line | None:
        text = line.decode("utf-8-sig", errors="replace").strip()
        fields = _fields(text) if '"' in text else text.split(",")
        if len(fields) != width:
            raise LineError(f"has {len(fields)} columns, and the header has {width}")
        try:
            moment = time_of(fields[at])
        except ValueError:
            raise LineError("not a time", value=fields[at]) from None
        if not math.isfinite(moment):
            raise LineError("not a time", value=fields[at])
        tokens = _whole(fields[prompt])
        output = _whole(fields[answer])
        name = fields[session].strip() if session is not None else ""
        return Line(moment, tokens, output, session=name or None) if tokens and output else None

    return read


def _fields(text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise LineError(f"not CSV: {error}") from None


def _whole(text: str) -> int:
    try:
        found = int(text)
    except ValueError:
        found = -1
    if not 0 <= found <= MAX_TOKENS:
        raise LineError("not a number of tokens", value=text)
    return found


_TABLES = (
    ("Azure", ("timestamp", "contexttokens", "generatedtokens"), "", _azure_time),
    ("BurstGPT", ("timestamp", "request tokens", "response tokens"), "session id", float),
)
"""(name, columns of time, prompt and answer, column of the session, how its times are read)."""
