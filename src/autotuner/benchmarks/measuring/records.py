"""Request records in a Parquet file: one row per request, failed ones included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from arro3.core import Array, DataType, Field, Schema, Table, list_array

from autotuner.benchmarks.measuring.parquet_file import read_table, write_table
from autotuner.secrets import clean_text

_INT = DataType.int64()
_TEXT = DataType.utf8()
_FLAG = DataType.bool()
_GAPS = DataType.list(Field("item", _INT, nullable=False))
COLUMNS: Mapping[str, tuple[DataType, bool]] = {
    "index": (_INT, False),
    "scheduled_ns": (_INT, True),
    "sent_ns": (_INT, False),
    "lag_ns": (_INT, False),
    "end_ns": (_INT, False),
    "connect_ns": (_INT, False),
    "first_ns": (_INT, True),
    "gaps_ns": (_GAPS, False),
    "asked_input": (_INT, False),
    "asked_output": (_INT, False),
    "input_tokens": (_INT, True),
    "output_tokens": (_INT, False),
    "token_source": (_TEXT, False),
    "complete": (_FLAG, False),
    "ramp": (_FLAG, False),
    "error": (_TEXT, True),
    "detail": (_TEXT, False),
    "finish": (_TEXT, True),
    "usage_input": (_INT, True),
    "usage_output": (_INT, True),
    "reused": (_FLAG, True),
    "in_flight": (_INT, True),
    "prefix": (_INT, True),
    "part": (_INT, True),
    "documents": (_INT, True),
    "user": (_INT, True),
    "conversation": (_INT, True),
    "turn": (_INT, True),
}
"""Column -> (type, nullable). All times are nanoseconds from the window's start, negative before it.

``scheduled_ns`` is null in a closed loop. ``first_ns`` is the arrival of the first chunk with a token; ``gaps_ns`` are
the gaps between such chunks. ``lag_ns`` is how late the request was sent, including the time to open a connection
(``connect_ns``). ``complete``: the answer has ended properly. ``ramp``: a shortened first request of a closed loop,
never part of a latency. ``error`` is null for a success and for a request that was still running when the load
generator stopped watching. ``finish`` is the server's finish reason. ``usage_input`` and ``usage_output`` are the
server's token counts; ``input_tokens`` and ``output_tokens`` are those that the measurement uses. ``reused``: this
server has received the same prompt before. ``prefix``: rank of the shared prefix that the prompt begins with, 0 for the
most popular; null for a scenario without ``prefixes``. ``part``: place of the request's kind in a mix; null without.

An answer in one piece has a single chunk, at its end. ``documents``: texts to embed or to rank; null for a prompt.
``token_source`` is ``none`` if there are no output tokens, and ``unknown`` if nothing tells their number, for which 0
stands."""

_LATER = frozenset(
    {
        "finish",
        "usage_input",
        "usage_output",
        "reused",
        "in_flight",
        "prefix",
        "part",
        "documents",
        "user",
        "conversation",
        "turn",
    }
)
"""Columns that files of earlier versions lack; null there, and if a load generator does not report them."""

_META = b"autotuner"


@dataclass(frozen=True)
class RunInfo:
    """Facts about a window that its measurement needs besides the request records."""

    window_ns: int
    begin_epoch_s: float
    loop_lag_p99_s: float = 0.0
    client_cpu_cores: float = 0.0
    asked_rate: float | None = None
    scheduled_in_window: int = 0
    foreign_cpu_cores: float | None = None
    reused_rows: int = 0
    """Only in files of earlier versions, where it also counts rows that were prepared but not sent."""
    run_id: str = ""
    """Random, drawn when a server starts; seeds the prompts together with the workload's seed."""
    left_out_s: float = 0.0
    """Load between the warm-up and the window, in seconds, which had not settled."""
    left_out_lagged: bool = False
    """Whether the load generator lagged in it."""
    ends_only: bool = False
    """Whether only the first and the last token of an answer have a time: ``gaps_ns`` holds the gap between them."""
    untimed: bool = False
    """Whether the load generator reports durations but not when requests were sent: ``sent_ns`` is 0 for all."""
    answers: str = "streamed"
    """``streamed``, ``whole`` (generated text in one piece) or ``documents`` (embeddings and rankings): without a
    stream, the time of an answer's only chunk is that of its end."""
    exact_prompts: bool = False
    """Whether prompts were made of units that are one token each, so that they should be exactly as long as asked."""
    workers: int = 1
    """CPU cores that the load generator could use: one per process, at most those of its machine."""
    file_limit: int | None = None
    """The limit on open files, if connections could not be opened because of it."""
    notes: tuple[str, ...] = ()
    """Further remarks for readers, which become warnings."""


@dataclass(frozen=True)
class Records:
    """Records of one window, by column."""

    columns: Mapping[str, Sequence[Any]]
    info: RunInfo
    where: Mapping[str, Any] = field(default_factory=dict)
    """A dumped :class:`~autotuner.benchmarks.measuring.requirements.Requirements`, needed to evaluate the records."""

    def __len__(self) -> int:
        return len(self.columns["index"])


def from_rows(rows: Sequence[Mapping[str, Any]], info: RunInfo, where: Mapping[str, Any]) -> Records:
    """Creates records from the worker's rows. Raises ``KeyError`` if a row lacks a required column."""
    columns = {n: [row.get(n) if n in _LATER else row[n] for row in rows] for n in COLUMNS}
    return Records(columns, info, where)


def write_records(path: Path, records: Records) -> None:
    """Writes the file atomically. Raises ``OSError`` (e.g. disk full) and then leaves nothing behind."""
    meta = orjson.dumps({"info": records.info.__dict__, "where": records.where})
    schema = Schema(
        [Field(name, kind, nullable=null) for name, (kind, null) in COLUMNS.items()], metadata={_META: meta}
    )
    columns = {**records.columns, "detail": [clean_text(text) if text else text for text in records.columns["detail"]]}
    arrays = [_array(columns[name], kind) for name, (kind, _) in COLUMNS.items()]
    table = Table.from_arrays(arrays, schema=schema)
    write_table(path, table)


def read_records(path: Path) -> Records:
    """Reads a file of request records. Raises ``OSError``, or ``ValueError`` if the file contains something else."""
    with path.open("rb") as file:
        table = read_table(file, f"{path} does not contain request records")
    meta = table.schema.metadata.get(_META)
    names = set(table.schema.names)
    if meta is None or set(COLUMNS) - names - _LATER:
        raise ValueError(f"{path} does not contain request records")
    stored = orjson.loads(meta)
    columns = {n: list(table.column(n).to_pylist()) if n in names else [None] * len(table) for n in COLUMNS}
    info = {**stored["info"], "notes": tuple(stored["info"].get("notes", ()))}
    return Records(columns, RunInfo(**info), stored["where"])


def _array(values: Sequence[Any], kind: DataType) -> Array:
    if kind != _GAPS:
        return Array(list(values), type=kind)
    offsets = Array(np.cumsum([0, *map(len, values)], dtype=np.int32))
    items = Array(np.fromiter(chain.from_iterable(values), dtype=np.int64))
    return list_array(offsets, items, type=kind)
