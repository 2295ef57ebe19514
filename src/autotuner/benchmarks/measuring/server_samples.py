"""Samples of the server's metrics as a Parquet file beside the request records, one row per sample and series.

They are stored raw, under the engine's own names, so that every figure can be computed again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from arro3.core import Array, DataType, Field, Schema, Table

from autotuner.benchmarks.measuring.parquet_file import read_table, write_table
from autotuner.secrets import clean_text

_META = b"autotuner"
_COLUMNS = {"at_ns": DataType.int64(), "series": DataType.utf8(), "value": DataType.float64()}


@dataclass(frozen=True)
class ServerSamples:
    """Report of a sampler on one window."""

    at_ns: tuple[int, ...] = ()
    """When each sample arrived: nanoseconds from the window's start, ascending."""
    series: Mapping[str, tuple[float | None, ...]] | None = None
    """Values by series (a name with its labels in braces); None where a sample lacks it."""
    path: str = ""
    failed: int = 0
    """Attempts that yielded no sample."""
    notes: tuple[str, ...] = ()


def samples_from(said: Mapping[str, Any]) -> ServerSamples:
    """From the worker's line. What does not fit together is left out: it came through a process near the server."""
    at_ns = tuple(int(at) for at in said.get("at_ns", ()))
    series = said.get("series") or {}
    return ServerSamples(
        at_ns=at_ns,
        series={str(n): tuple(values) for n, values in series.items() if len(values) == len(at_ns)},
        path=str(said.get("path", "")),
        failed=int(said.get("failed", 0)),
        notes=tuple(clean_text(str(note)) for note in said.get("notes", ())),
    )


def samples_name(records_name: str) -> str:
    """The file's name beside ``records-….parquet``: ``server-….parquet``."""
    return f"server-{records_name.removeprefix('records-')}"


def write_samples(path: Path, samples: ServerSamples) -> None:
    """Writes the file atomically. Raises ``OSError`` and then leaves nothing behind."""
    meta = orjson.dumps({"path": samples.path, "failed": samples.failed, "notes": samples.notes})
    schema = Schema([Field(name, kind, nullable=False) for name, kind in _COLUMNS.items()], metadata={_META: meta})
    rows = [
        (at, name, float(value))
        for name, values in (samples.series or {}).items()
        for at, value in zip(samples.at_ns, values, strict=True)
        if value is not None
    ]
    arrays = [Array([row[i] for row in rows], type=kind) for i, kind in enumerate(_COLUMNS.values())]
    write_table(path, Table.from_arrays(arrays, schema=schema))


def read_samples_file(path: Path) -> ServerSamples:
    """Reads a file back. Raises ``OSError`` if it cannot be read, ``ValueError`` if it has another format."""
    wrong = f"{path} does not contain samples of a server's metrics"
    with path.open("rb") as file:
        table = read_table(file, wrong)
    found = table.schema.metadata.get(_META)
    if found is None or set(_COLUMNS) - set(table.schema.names):
        raise ValueError(wrong)
    meta = orjson.loads(found)
    columns = [table.column(name).to_pylist() for name in _COLUMNS]
    rows = zip(*columns, strict=True)
    by_series: dict[str, dict[int, float]] = {}
    for at, name, value in rows:
        by_series.setdefault(name, {})[at] = value
    at_ns = tuple(sorted({at for values in by_series.values() for at in values}))
    return ServerSamples(
        at_ns=at_ns,
        series={name: tuple(values.get(at) for at in at_ns) for name, values in by_series.items()},
        path=meta["path"],
        failed=meta["failed"],
        notes=tuple(meta["notes"]),
    )


def values_of(samples: ServerSamples, names: Sequence[str]) -> Mapping[str, tuple[float | None, ...]]:
    """All series of the first of these names that the server reports, by the text of their labels."""
    for name in names:
        found = {
            series.removeprefix(name): values
            for series, values in (samples.series or {}).items()
            if series.partition("{")[0] == name
        }
        if found:
            return found
    return {}
