"""Datasets of prompts in JSON lines; files in other formats are refused with a hint how to convert them."""

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
"""Fields for the output length of a row, as various tools and APIs name it. One is enough."""
_FORMAT = 'write one {"prompt": "...", "max_tokens": 64} per line'
_TRACE_FIELDS = ({"timestamp", "input_length"}, {"timestamp", "hash_ids"}, {"TIMESTAMP", "ContextTokens"})
_NAMED = 6
"""Unused fields that a note lists by name."""
MAX_BYTES = 1 << 30
"""The whole dataset is held in memory."""


@dataclass(frozen=True)
class Dataset:
    """A dataset's rows as they are sent: ``prompt`` or ``messages``, and ``max_tokens`` if the row has a length."""

    rows: tuple[Mapping[str, Any], ...]
    unsent: tuple[str, ...] = ()
    """Fields of the rows that are not sent."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for readers of the measurement."""
        if not self.unsent:
            return ()
        more = f" and {len(self.unsent) - _NAMED} more" if len(self.unsent) > _NAMED else ""
        return (f"dataset fields that are not sent: {', '.join(self.unsent[:_NAMED])}{more}",)


def read_dataset(path: str) -> Dataset:
    """Reads a dataset from a local file.

    Raises:
        UsageError: The file cannot be read, has another format, or contains an invalid row, which is named.
    """
    where = f"workload.scenarios dataset:{path}"
    try:
        data = files.read_bytes(Path(path).expanduser(), limit=MAX_BYTES)
    except UsageError as error:
        problem = error.problems[0]
        raise UsageError.at(where, problem.why, remedy=problem.remedy) from None
    except RuntimeError as error:  # ~NAME of an unknown user
        raise UsageError(Problem.refused(where, error)) from None
    other = _other_format(data, path)
    if other is not None:
        raise UsageError(Problem(where=where, why=other[0], remedy=other[1]))
    rows = []
    unsent = dict[str, None]()
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            row, others = _row(line, f"{path}:{number}")
            rows.append(row)
            unsent |= dict.fromkeys(others)
    if not rows:
        raise UsageError(Problem(where=where, why="the dataset is empty", remedy=_FORMAT))
    return Dataset(tuple(rows), tuple(unsent))


def _other_format(data: bytes, path: str) -> tuple[str, str] | None:
    """(format of the file, how to convert it) if it is not JSON lines."""
    if data.startswith(b"\x1f\x8b"):
        return "this is a gzip file", f"run: gunzip -k {path}"
    if data.startswith(b"PAR1"):
        return "this is a Parquet file", f"convert it to JSON lines, and {_FORMAT}"
    if not data.lstrip().startswith(b"["):
        return None
    try:
        rows = json.loads(data)  # orjson refuses large integers
    except (ValueError, RecursionError):
        return None
    first = next((row for row in rows if isinstance(row, dict)), None)
    if first is None:
        return None
    if "conversations" in first:
        return _sharegpt(path, ".[]")
    return "this is a JSON array; a dataset must be in JSON lines", f"run: jq -c '.[]' {path} > rows.jsonl"


def _sharegpt(path: str, rows: str) -> tuple[str, str]:
    length = '(.conversations[1].value // "" | length / 4 + 1 | floor)'
    pick = f"{rows} | {{prompt: .conversations[0].value, max_tokens: {length}}}"
    why = "this is in ShareGPT format (conversations), which has no lengths in tokens"
    return why, f"convert it, e.g. at 4 characters per token: jq -c '{pick}' {path} > rows.jsonl"


def _row(line: bytes, where: str) -> tuple[Mapping[str, Any], list[str]]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(Problem(where=where, why=f"not JSON: {error}", remedy=_FORMAT)) from None
    if not isinstance(row, dict):
        raise UsageError(Problem(where=where, why="not a JSON object", remedy=_FORMAT))
    prompt = row.get("prompt")
    messages = row.get("messages")
    if not (isinstance(prompt, str) and prompt) and not (isinstance(messages, list) and messages):
        why, remedy = _missing_prompt(row, where.rpartition(":")[0])
        raise UsageError(Problem(where=where, why=why, remedy=remedy))
    used = {name: row[name] for name in ("prompt", "messages") if name in row}
    length = _length(row, where)
    if length is not None:
        used["max_tokens"] = length
    return used, [name for name in row if name not in ("prompt", "messages", *LENGTHS)]


def _missing_prompt(row: Mapping[str, Any], path: str) -> tuple[str, str]:
    """Why a row without a prompt cannot be sent, and what to do."""
    if any(fields <= row.keys() for fields in _TRACE_FIELDS):
        why = "this is a trace of arrival times and lengths without text; traces cannot be replayed"
        return why, "measure its mean rate and lengths instead, e.g. rates: [4] with scenarios: N(512,128)/(200,80)"
    if "conversations" in row:
        return _sharegpt(path, ".")
    if isinstance(row.get("body"), dict):
        return "this is a batch file of the OpenAI API", f"run: jq -c .body {path} > rows.jsonl"
    return 'has neither "prompt" (text) nor "messages" (list)', _FORMAT


def _length(row: Mapping[str, Any], where: str) -> int | None:
    given = {name: row[name] for name in LENGTHS if row.get(name) is not None}
    for name, value in given.items():
        if type(value) is not int or value < 1:
            why = f'"{name}" must be an integer of at least 1'
            raise UsageError(Problem(where=where, value=str(value), why=why))
    if len(set(given.values())) > 1:
        both = ", ".join(f"{name} {value}" for name, value in given.items())
        raise UsageError(Problem(where=where, why=f"conflicting output lengths: {both}", remedy="keep one of them"))
    return next(iter(given.values()), None)
