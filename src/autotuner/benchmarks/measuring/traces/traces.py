"""Traces: recorded arrivals, lengths and shared prefixes. A part of one is replayed as the load of a window."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.measuring.traces.trace_formats import BLOCK_TOKENS, FORMATS, Line, LineError, detect
from autotuner.errors import UsageError
from autotuner.store import files

MAX_REQUESTS = 5_000_000
"""Requests of the part that is read; also the memory that they take is then still below a gigabyte."""
LONGEST_S = 366 * 86_400.0
"""No trace is that long: its times have another unit."""
AFTER_S = 600.0
"""Seconds of the trace after a range that are read: their requests keep the load up until the window's have ended."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests of a trace in order of arrival, by column."""

    format: str
    at_s: NDArray[np.float64]
    """Seconds from the trace's first request."""
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
    blocks: Sequence[tuple[int, ...]]
    """Ids of the blocks that each prompt begins with; empty if the trace has none."""
    sessions: NDArray[np.int64]
    """A number for each session; -1 for a request without one."""
    texts: Mapping[int, Mapping[str, Any]]
    """``prompt`` or ``messages`` of the requests that have their own."""
    block_tokens: int = BLOCK_TOKENS
    left_out: int = 0
    """Requests without a prompt or an answer, which the trace records as failed."""

    def __len__(self) -> int:
        return len(self.at_s)

    def moved(self, begin_s: float) -> "Trace":
        """With times from ``begin_s``."""
        return replace(self, at_s=self.at_s - begin_s)

    def taken(self, which: NDArray[np.int64]) -> "Trace":
        """Some of the requests, by their indexes."""
        indexes = which.tolist()
        return Trace(
            format=self.format,
            at_s=self.at_s[which],
            inputs=self.inputs[which],
            outputs=self.outputs[which],
            blocks=[self.blocks[index] for index in indexes],
            sessions=self.sessions[which],
            texts={new: self.texts[old] for new, old in enumerate(indexes) if old in self.texts},
            block_tokens=self.block_tokens,
            left_out=self.left_out,
        )


def read_trace(path: str, *, end_s: float | None = None) -> Trace:
    """Reads a trace up to some time after ``end_s``.

    Args:
        path: A local file.
        end_s: Seconds after the trace's first request.

    Raises:
        UsageError: The file cannot be read, is not a trace, or has an invalid line, which is named.
    """
    where = f"workload.scenarios trace:{path}"
    try:
        found = Path(path).expanduser().stat()
    except FileNotFoundError:
        raise UsageError.at(where, "no such file") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~NAME of an unknown user
        raise UsageError.at(where, f"cannot be read ({files.reason(error)})") from None
    if not S_ISREG(found.st_mode):
        raise UsageError.at(where, "is not a file")
    try:
        return _read(path, end_s, found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise UsageError.at(where, f"cannot be read ({files.reason(error)})") from None


@dataclass
class _Columns:
    at_s: "array[float]" = field(default_factory=lambda: array("d"))
    inputs: "array[int]" = field(default_factory=lambda: array("q"))
    outputs: "array[int]" = field(default_factory=lambda: array("q"))
    sessions: "array[int]" = field(default_factory=lambda: array("q"))
    blocks: list[tuple[int, ...]] = field(default_factory=list)
    texts: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    named_sessions: dict[str, int] = field(default_factory=dict)
    named_blocks: dict[str, int] = field(default_factory=dict)
    block_tokens: int = 0
    left_out: int = 0

    def add(self, line: Line) -> None:
        if line.blocks and line.block_tokens != (self.block_tokens or line.block_tokens):
            raise LineError(f"blocks of {line.block_tokens} tokens after blocks of {self.block_tokens}")
        if line.blocks:
            self.block_tokens = line.block_tokens
        if line.text is not None:
            self.texts[len(self.at_s)] = line.text
        self.at_s.append(line.at_s)
        self.inputs.append(line.input)
        self.outputs.append(line.output)
        self.blocks.append(tuple(self._block(name) for name in line.blocks))
        known = self.named_sessions
        self.sessions.append(-1 if line.session is None else known.setdefault(line.session, len(known)))

    def _block(self, name: int | str) -> int:
        if isinstance(name, int):
            return name
        return self.named_blocks.setdefault(name, -1 - len(self.named_blocks))


@lru_cache(maxsize=4)
def _read(path: str, end_s: float | None, _inode: int, _size: int, _changed_ns: int) -> Trace:
    """Cached, because every window of a study replays the trace again."""
    columns = _Columns()
    name = ""
    base = 0.0
    for number, line in _lines(path):
        try:
            if not name:
                name, read, header = detect(line)
                if header:
                    continue
            found = read(line)
            if found is None:
                columns.left_out += 1
                continue
            if not columns.at_s:
                base = found.at_s
            if found.at_s < base:
                raise LineError("earlier than the trace's first request", "sort the trace by time")
            if found.at_s > base + LONGEST_S:
                remedy = "write times in seconds, or in milliseconds in a Mooncake trace"
                raise LineError("more than a year after the trace's first request", remedy)
            if end_s is not None and found.at_s >= base + end_s + AFTER_S:
                break
            columns.add(found)
        except LineError as error:
            raise UsageError.at(f"{path}:{number}", error.why, value=error.value, remedy=error.remedy) from None
        if len(columns.at_s) > MAX_REQUESTS:
            remedy = "replay a part of it, e.g. trace:FILE to=1h"
            raise UsageError.at(f"{path}:{number}", f"more than {MAX_REQUESTS} requests", remedy=remedy)
    if not columns.at_s:
        why = "no request in the trace has an answer" if columns.left_out else "the trace is empty"
        raise UsageError.at(f"workload.scenarios trace:{path}", why, remedy=f"use {FORMATS}")
    return _sorted(name, columns, base)


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    with Path(path).expanduser().open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield number, line


def _sorted(name: str, columns: _Columns, base: float) -> Trace:
    at_s = np.asarray(columns.at_s, dtype=np.float64) - base
    found = Trace(
        format=name,
        at_s=at_s,
        inputs=np.asarray(columns.inputs, dtype=np.int64),
        outputs=np.asarray(columns.outputs, dtype=np.int64),
        blocks=columns.blocks,
        sessions=np.asarray(columns.sessions, dtype=np.int64),
        texts=columns.texts,
        block_tokens=columns.block_tokens or BLOCK_TOKENS,
        left_out=columns.left_out,
    )
    order = np.argsort(at_s, kind="stable")
    return found if (np.diff(order) == 1).all() else found.taken(order)
