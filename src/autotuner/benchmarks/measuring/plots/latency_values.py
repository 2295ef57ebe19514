"""Latencies of a window's requests, read as columns: fast enough for a page, whatever the number of requests.

Which requests count toward which latency is defined by :mod:`autotuner.benchmarks.measuring.population`, which keeps an
object per request; a test compares both on arbitrary records.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from arro3.core import Table, list_flatten, list_offsets
from numpy.typing import NDArray

from autotuner.benchmarks.measuring.parquet_file import read_table
from autotuner.benchmarks.measuring.population import (
    FIRST_TOKEN_METRICS,
    NS,
    ONE_PIECE_METRICS,
    TURN_METRICS,
    WHOLE_ANSWER_METRICS,
    Floats,
)

Flags = NDArray[np.bool_]
_META = b"autotuner"
_NEEDED = frozenset(
    {"scheduled_ns", "sent_ns", "end_ns", "first_ns", "gaps_ns", "output_tokens", "complete", "ramp", "error"}
)


def read_latencies(path: Path) -> dict[str, tuple[Floats, int]]:
    """The latencies in a file of request records.

    Args:
        path: The file.

    Returns:
        By metric: the known values in seconds, in no order, and the number of further, censored requests.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it contains something else.
    """
    wrong = f"{path} does not contain request records"
    with path.open("rb") as file:
        table = read_table(file, wrong)
    meta = table.schema.metadata.get(_META)
    if meta is None or _NEEDED - set(table.schema.names):
        raise ValueError(wrong)
    if not len(table):
        return {}
    info = orjson.loads(meta)["info"]
    columns = _columns(table, info["window_ns"], ends_only=info.get("ends_only", False))
    streamed = info.get("answers", "streamed") == "streamed"
    values = _values(columns) if streamed else _values_of_one_piece(columns)
    names = (*FIRST_TOKEN_METRICS, *WHOLE_ANSWER_METRICS) if streamed else ONE_PIECE_METRICS
    overdue = _overdue(columns, values["e2e_latency"])
    found = {name: _counted(columns, name, values[name], overdue) for name in names}
    if streamed and not info.get("ends_only", False):
        found["itl"] = _gaps(columns, overdue), 0
    return {name: pair for name, pair in found.items() if len(pair[0]) or pair[1]}


@dataclass(frozen=True)
class _Columns:
    """Columns of the records, times in nanoseconds; NaN stands for null."""

    scheduled: Floats
    sent: Floats
    end: Floats
    first: Floats
    tokens: Floats
    turn: Floats
    spans: Floats
    """Sum of each request's gaps."""
    gap_counts: NDArray[np.int64]
    gaps: NDArray[np.int64]
    """The gaps of all requests, one after another."""
    window: float
    ok: Flags
    running: Flags
    timed_out: Flags
    failed: Flags
    ramp: Flags

    @property
    def open_loop(self) -> bool:
        """Whether requests were sent on a schedule."""
        return not bool(np.isnan(self.scheduled).all())

    @property
    def begin(self) -> Floats:
        """When each request belongs to the load: as scheduled in an open loop, as sent in a closed one."""
        return self.scheduled if self.open_loop else self.sent

    @property
    def arrived(self) -> Flags:
        """Which requests arrived in the window."""
        found: Flags = (self.begin >= 0) & (self.begin < self.window) & ~self.ramp
        return found

    @property
    def counted(self) -> Flags:
        """Which requests have an outcome that belongs to the window."""
        if self.open_loop:
            of_arrivals: Flags = self.arrived & (self.ok | self.failed)
            return of_arrivals
        inside = (self.end >= 0) & (self.end < self.window)
        outlasted = self.timed_out & (self.end >= self.window) & (self.begin < self.window)
        found: Flags = (inside & (self.ok | self.failed) & (self.failed | ~self.ramp)) | outlasted
        return found


def _columns(table: Table, window_ns: int, *, ends_only: bool) -> _Columns:
    gap_lists = table.column("gaps_ns").combine_chunks()
    gaps = np.asarray(list_flatten(gap_lists).to_numpy(), dtype=np.int64)
    offsets = np.asarray(list_offsets(gap_lists).to_numpy(), dtype=np.int64)
    counts = np.diff(offsets)
    # Differences of a running sum, of whole nanoseconds: exact, and empty lists need no case of their own.
    sums = np.concatenate(([0], np.cumsum(gaps)))
    spans = (sums[offsets[1:]] - sums[offsets[:-1]]).astype(np.float64)
    tokens = _numbers(table, "output_tokens")
    if ends_only:  # a single gap stands for those of all tokens; that of one token stands for nothing
        spans = np.where(tokens > 1, spans, 0.0)
        counts = np.where(tokens > 1, counts, 0)
    errors = table.column("error").to_pylist()
    failed = np.array([error is not None for error in errors], dtype=np.bool_)
    first = _numbers(table, "first_ns")
    ok = _flags(table, "complete") & ~np.isnan(first)
    return _Columns(
        scheduled=_numbers(table, "scheduled_ns"),
        sent=_numbers(table, "sent_ns"),
        end=_numbers(table, "end_ns"),
        first=first,
        tokens=tokens,
        turn=_numbers(table, "turn"),
        spans=spans,
        gap_counts=counts,
        gaps=gaps,
        window=float(window_ns),
        ok=ok,
        running=~failed & ~ok,
        timed_out=np.array([error == "timeout" for error in errors], dtype=np.bool_),
        failed=failed,
        ramp=_flags(table, "ramp"),
    )


def _numbers(table: Table, name: str) -> Floats:
    """A column as floats, in which nanoseconds of 100 days are exact; NaN for null, and for files without it."""
    if name not in table.schema.names:
        return np.full(len(table), np.nan)
    return np.array(table.column(name).to_pylist(), dtype=np.float64)


def _flags(table: Table, name: str) -> Flags:
    return np.array(table.column(name).to_pylist(), dtype=np.bool_)


def _values(columns: _Columns) -> dict[str, Floats]:
    """Latencies of all requests in seconds; NaN where a request has none."""
    known = columns.ok | columns.running | columns.timed_out
    ttft = np.where(known, (columns.first - columns.sent) * NS, np.nan)
    late = (columns.sent - columns.scheduled) * NS
    span = columns.spans * NS
    latency = np.where(columns.ok, ttft + span, np.nan)
    several = columns.ok & (columns.gap_counts > 0) & (columns.tokens > 1)
    first_turn, later_turns = TURN_METRICS
    return {
        "ttft": ttft,
        "ttft_scheduled": ttft + late,
        first_turn: np.where(columns.turn == 0, ttft, np.nan),
        later_turns: np.where(columns.turn > 0, ttft, np.nan),
        "tpot": np.where(several, span / np.where(several, columns.tokens - 1, 1), np.nan),
        "e2e_latency": latency,
        "e2e_latency_scheduled": latency + late,
    }


def _values_of_one_piece(columns: _Columns) -> dict[str, Floats]:
    """The same for answers without a stream, whose only latency is that of the whole answer."""
    latency = np.where(columns.ok, (columns.first - columns.sent) * NS, np.nan)
    late = (columns.sent - columns.scheduled) * NS
    return {"e2e_latency": latency, "e2e_latency_scheduled": latency + late}


def _counted(columns: _Columns, metric: str, values: Floats, overdue: Flags) -> tuple[Floats, int]:
    """The known values of the requests that count toward a latency, and how many of these requests are censored."""
    among = _for_first_token(columns) if metric in FIRST_TOKEN_METRICS else _for_whole_answer(columns, overdue)
    known = ~np.isnan(values)
    unknown = among & ~known
    if metric == "tpot":
        unknown &= ~columns.ok  # the tpot of a one-token answer does not exist, which is not the same as unknown
    if metric.endswith("_scheduled") and not columns.open_loop:
        unknown &= False
    if metric in TURN_METRICS:
        unknown &= columns.turn == 0 if metric == TURN_METRICS[0] else columns.turn > 0
    return values[among & known], int(unknown.sum())


def _for_first_token(columns: _Columns) -> Flags:
    found: Flags = columns.arrived & (columns.ok | columns.running | columns.timed_out)
    return found


def _for_whole_answer(columns: _Columns, overdue: Flags) -> Flags:
    if columns.open_loop:
        return _for_first_token(columns)
    found: Flags = (columns.counted & (columns.ok | columns.timed_out)) | overdue
    return found


def _overdue(columns: _Columns, latency: Floats) -> Flags:
    """Requests of a closed loop that outlast the window and have taken longer than all that ended in it."""
    none: Flags = np.zeros(len(latency), dtype=np.bool_)
    if columns.open_loop:
        return none
    watched = np.where(np.isnan(latency), (columns.end - columns.sent) * NS, latency)
    ended = columns.counted & columns.ok
    if not ended.any():
        return none
    in_flight = (columns.begin < columns.window) & (columns.window <= columns.end) & ~columns.ramp
    beyond = (columns.ok | columns.running) & ~columns.counted & in_flight
    found: Flags = beyond & (watched > watched[ended].max())
    return found


def _gaps(columns: _Columns, overdue: Flags) -> Floats:
    """The gaps between the chunks of all answers that count."""
    answering = _for_whole_answer(columns, overdue) & (columns.ok | columns.running)
    gaps = columns.gaps[np.repeat(answering, columns.gap_counts)]
    return gaps.astype(np.float64) * NS
