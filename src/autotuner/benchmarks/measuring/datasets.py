"""Datasets: JSON lines of prompts, each with the length of its answer. Other files are refused with what they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from autotuner.errors import Problem, UsageError
from autotuner.store import files

LENGTHS = (
    "max_tokens", "max_completion_tokens", "output_tokens", "output_len", "output_length", "expected_output_len",
    "max_new_tokens", "n_predict",
)  # fmt: skip
"""Fields that say how long a row's answer is to be, by the tool or API that they come from. One is enough."""
_ROW = 'one {"prompt": "...", "max_tokens": 64} per line'
_TRACE = ({"timestamp", "input_length"}, {"timestamp", "hash_ids"}, {"TIMESTAMP", "ContextTokens"})
_NAMED = 6
MAX_BYTES = 1 << 30
"""All of a dataset is held in memory."""


@dataclass(frozen=True)
class Dataset:
    """A dataset's rows as they are used: ``prompt`` or ``messages``, and ``max_tokens`` where the row has a length."""

    rows: tuple[Mapping[str, Any], ...]
    unsent: tuple[str, ...] = ()
    """Fields of the rows that are not used."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        if not self.unsent:
            return ()
        more = f" and {len(self.unsent) - _NAMED} more" if len(self.unsent) > _NAMED else ""
        return (f"fields of the dataset's rows that are not sent: {', '.join(self.unsent[:_NAMED])}{more}",)


def read_dataset(path: str) -> Dataset:
    """The dataset in a file. Raises :class:`UsageError` that names the first bad line, or the kind of file it is."""
    where = f"workload.scenarios dataset:{path}"
    try:
        data = files.read_bytes(Path(path).expanduser(), limit=MAX_BYTES)
    except UsageError as error:
        problem = error.problems[0]
        raise UsageError.at(where, problem.why, remedy=problem.remedy) from None
    except RuntimeError as error:  # ~NAME of an unknown user
        raise UsageError(Problem.refused(where, error)) from None
    found = _another_kind(data, path)
    if found is not None:
        raise UsageError(Problem(where=where, why=found[0], remedy=found[1]))
    rows = []
    unsent = dict[str, None]()
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            row, others = _row(line, f"{path}:{number}")
            rows.append(row)
            unsent |= dict.fromkeys(others)
    if not rows:
        raise UsageError(Problem(where=where, why="the dataset is empty", remedy=_ROW))
    return Dataset(tuple(rows), tuple(unsent))


def _another_kind(data: bytes, path: str) -> tuple[str, str] | None:
    """(what the file is, how to convert it) where it is not JSON lines."""
    if data.startswith(b"\x1f\x8b"):
        return "this is a gzip file", f"gunzip -k {path}"
    if data.startswith(b"PAR1"):
        return "this is a Parquet file", f"convert it to JSON lines: {_ROW}"
    if not data.lstrip().startswith(b"["):
        return None
    try:
        rows = json.loads(data)  # of the file's own size at most; orjson refuses large integers
    except (ValueError, RecursionError):
        return None
    first = next((row for row in rows if isinstance(row, dict)), None)
    if first is None:
        return None
    if "conversations" in first:
        return _sharegpt(path, ".[]")
    return "this is a JSON array; a dataset is JSON lines", f"jq -c '.[]' {path} > rows.jsonl"


def _sharegpt(path: str, each: str) -> tuple[str, str]:
    length = '(.conversations[1].value // "" | length / 4 + 1 | floor)'
    pick = f"{each} | {{prompt: .conversations[0].value, max_tokens: {length}}}"
    why = "this is ShareGPT's format (conversations), which has no lengths in tokens"
    return why, f"convert it, e.g. at 4 characters per token: jq -c '{pick}' {path} > rows.jsonl"


def _row(line: bytes, where: str) -> tuple[Mapping[str, Any], list[str]]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(Problem(where=where, why=f"not JSON: {error}", remedy=_ROW)) from None
    if not isinstance(row, dict):
        raise UsageError(Problem(where=where, why="not a JSON object", remedy=_ROW))
    prompt = row.get("prompt")
    messages = row.get("messages")
    if not (isinstance(prompt, str) and prompt) and not (isinstance(messages, list) and messages):
        why, remedy = _promptless(row, where.rpartition(":")[0])
        raise UsageError(Problem(where=where, why=why, remedy=remedy))
    used = {name: row[name] for name in ("prompt", "messages") if name in row}
    length = _length(row, where)
    if length is not None:
        used["max_tokens"] = length
    return used, [name for name in row if name not in ("prompt", "messages", *LENGTHS)]


def _promptless(row: Mapping[str, Any], path: str) -> tuple[str, str]:
    """Why such a row cannot be sent, and what to do."""
    if any(kind <= row.keys() for kind in _TRACE):
        why = "this is a trace of arrival times and lengths without text, and traces are not replayed"
        return why, "measure its mean rate and lengths instead, e.g. rates: [4] with scenarios: N(512,128)/(200,80)"
    if "conversations" in row:
        return _sharegpt(path, ".")
    if isinstance(row.get("body"), dict):
        return "this is a batch file of the OpenAI API", f"jq -c .body {path} > rows.jsonl"
    return 'has neither "prompt" (text) nor "messages" (list)', _ROW


def _length(row: Mapping[str, Any], where: str) -> int | None:
    given = {name: row[name] for name in LENGTHS if row.get(name) is not None}
    for name, value in given.items():
        if type(value) is not int or value < 1:
            why = f'"{name}" must be a whole number above 0'
            raise UsageError(Problem(where=where, value=str(value), why=why))
    if len(set(given.values())) > 1:
        both = ", ".join(f"{name} {value}" for name, value in given.items())
        raise UsageError(Problem(where=where, why=f"two lengths of one answer: {both}", remedy="keep one of them"))
    return next(iter(given.values()), None)
