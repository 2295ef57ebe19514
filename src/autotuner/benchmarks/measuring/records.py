"""Request records as a Parquet file: one row a request, failed ones included.

The file is written beside its place and renamed into it, so a reader finds a whole file or none.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from arro3.core import Array, DataType, Field, Schema, Table, list_array
from arro3.io import read_parquet, write_parquet

from autotuner.secrets import clean_text
from autotuner.store.files import private_file

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
}
"""Column -> (type, may be null). All times are nanoseconds from the window's begin, negative before it.

``scheduled_ns`` is null in a closed loop. ``first_ns`` is the first chunk with a token; ``gaps_ns`` the gaps between
those chunks. ``lag_ns`` is how late it was sent, connection set-up (``connect_ns``) included. ``complete``: the answer
came to its proper end. ``ramp``: one of the closed loop's first requests, shortened, never counted in a latency.
``error`` is null for a success and for a request that was still being answered when the window was over. ``finish`` is
the server's finish reason. ``usage_input`` and ``usage_output`` are what its usage said, ``input_tokens`` and
``output_tokens`` what is believed. ``reused``: the same prompt was sent to this server before."""

_LATER = frozenset({"finish", "usage_input", "usage_output", "reused"})
"""Columns that files of earlier versions lack; null there, and where a load generator does not tell."""

_META = b"autotuner"


@dataclass(frozen=True)
class RunInfo:
    """What a measurement needs besides the records."""

    window_ns: int
    begin_epoch_s: float
    loop_lag_p99_s: float = 0.0
    client_cpu_cores: float = 0.0
    asked_rate: float | None = None
    scheduled_in_window: int = 0
    foreign_cpu_cores: float | None = None
    reused_rows: int = 0
    """Only in files of earlier versions, where it counts rows that were made and perhaps never sent."""
    run_id: str = ""
    """Drawn for each server's life; seeds the prompts together with the workload's seed."""
    left_out_s: float = 0.0
    """Load between the warm-up and the window that had not settled."""
    ends_only: bool = False
    """The load generator saw only an answer's first and last token: ``gaps_ns`` holds the one gap between them."""
    untimed: bool = False
    """The load generator told how long requests took, but not when they were sent: ``sent_ns`` is 0 for all of them."""
    notes: tuple[str, ...] = ()
    """What else a reader must know; becomes warnings."""


@dataclass(frozen=True)
class Records:
    """Records of one window, by column."""

    columns: Mapping[str, Sequence[Any]]
    info: RunInfo
    where: Mapping[str, Any] = field(default_factory=dict)
    """Scenario, load level and SLOs, as needed to sum the records up again."""

    def __len__(self) -> int:
        return len(self.columns["index"])


def from_rows(rows: Sequence[Mapping[str, Any]], info: RunInfo, where: Mapping[str, Any]) -> Records:
    """Records from the worker's rows. Raises ``KeyError`` when a row lacks a column that every one must have."""
    columns = {n: [row.get(n) if n in _LATER else row[n] for row in rows] for n in COLUMNS}
    return Records(columns, info, where)


def write_records(path: Path, records: Records) -> None:
    """Writes the file atomically. Raises ``OSError`` (e.g. disk full); nothing is left behind then.

    The library writes into memory only: on a full disk it would end in a panic that no handler knows."""
    meta = orjson.dumps({"info": records.info.__dict__, "where": records.where})
    schema = Schema(
        [Field(name, kind, nullable=null) for name, (kind, null) in COLUMNS.items()], metadata={_META: meta}
    )
    columns = {**records.columns, "detail": [clean_text(text) if text else text for text in records.columns["detail"]]}
    arrays = [_array(columns[name], kind) for name, (kind, _) in COLUMNS.items()]
    table = Table.from_arrays(arrays, schema=schema)
    made = BytesIO()
    write_parquet(table, made, compression="zstd(3)")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        private_file(beside)
        beside.write_bytes(made.getbuffer())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_records(path: Path) -> Records:
    """Reads a file back. Raises ``OSError`` when there is none, ``ValueError`` when it is not one of ours."""
    with path.open("rb") as file:
        table = _table(file, path)
    meta = table.schema.metadata.get(_META)
    names = set(table.schema.names)
    if meta is None or set(COLUMNS) - names - _LATER:
        raise ValueError(f"{path} holds no request records")
    found = orjson.loads(meta)
    columns = {n: list(table.column(n).to_pylist()) if n in names else [None] * len(table) for n in COLUMNS}
    info = {**found["info"], "notes": tuple(found["info"].get("notes", ()))}
    return Records(columns, RunInfo(**info), found["where"])


def _table(file: BinaryIO, path: Path) -> Table:
    try:
        return read_parquet(file).read_all()
    except Exception as error:  # the library's own kinds
        raise ValueError(f"{path} holds no request records: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what the library does on a corrupt footer
            raise
        raise ValueError(f"{path} holds no request records: it is no whole Parquet file") from None


def _array(values: Sequence[Any], kind: DataType) -> Array:
    if kind != _GAPS:
        return Array(list(values), type=kind)
    offsets = Array(np.cumsum([0, *map(len, values)], dtype=np.int32))
    items = Array(np.fromiter(chain.from_iterable(values), dtype=np.int64))
    return list_array(offsets, items, type=kind)
