"""Classification of requests: which ones count toward which metric, and what is known about them.

Open loop: all requests scheduled in the window, whatever their outcome. Closed loop: ``ttft`` of the requests sent in
the window, everything else of the requests that ended in it. ``docs/reference/metrics.md`` gives the reasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.measuring.records import Records, RunInfo

Floats = NDArray[np.float64]

NS = 1e-9
TURN_METRICS = ("ttft_first_turn", "ttft_later_turns")
FIRST_TOKEN_METRICS = ("ttft", "ttft_scheduled", *TURN_METRICS)
"""Latencies that are known when the first token has arrived."""
WHOLE_ANSWER_METRICS = ("tpot", "e2e_latency", "e2e_latency_scheduled")
"""Latencies that are known when the answer is complete."""
ONE_PIECE_METRICS = ("e2e_latency", "e2e_latency_scheduled")
"""Latencies of answers without a stream."""


@dataclass(frozen=True)
class Request:
    """One record with values derived from it, in seconds."""

    row: Mapping[str, Any]
    ok: bool
    arrived: bool
    """Scheduled (open loop) or sent (closed loop) in the window."""
    counted: bool
    """Whether its outcome belongs to this window: it counts in requests, failures and ``success_rate``."""
    ended: bool
    """Whether it is a success that ended inside the window: it counts in rates per window."""
    running: bool
    """Whether it had neither ended nor failed when the load generator stopped watching."""
    tokens_per_chunk: float
    values: Mapping[str, float] = field(default_factory=dict)
    gaps: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def timed_out(self) -> bool:
        """Whether it failed by taking too long, which gives a lower bound of its latency."""
        return bool(self.row["error"] == "timeout")

    @property
    def watched_s(self) -> float:
        """How long it took, or how long it was watched."""
        return float(self.values.get("e2e_latency", (self.row["end_ns"] - self.row["sent_ns"]) * NS))


@dataclass(frozen=True)
class Population:
    """All requests of a window's records, and the subsets that its metrics are computed from."""

    requests: tuple[Request, ...]
    open_loop: bool

    @property
    def counted(self) -> list[Request]:
        """Requests whose outcome belongs to the window."""
        return [r for r in self.requests if r.counted]

    @property
    def successes(self) -> list[Request]:
        """Counted requests that succeeded."""
        return [r for r in self.requests if r.counted and r.ok]

    def values(self, metric: str) -> tuple[Floats, int]:
        """The known values of a per-request latency in seconds, and the number of further, censored requests."""
        requests = self._for_first_token() if metric in FIRST_TOKEN_METRICS else self._for_whole_answer()
        known = [r.values[metric] for r in requests if metric in r.values]
        return np.array(known), sum(self._censored(r, metric) for r in requests)

    def answering(self) -> list[Request]:
        """Requests whose gaps between chunks count: successes, and answers that were still running."""
        return [r for r in self._for_whole_answer() if r.ok or r.running]

    def _for_first_token(self) -> list[Request]:
        return [r for r in self.requests if r.arrived and (r.ok or r.running or r.timed_out)]

    def _for_whole_answer(self) -> list[Request]:
        if self.open_loop:
            return [r for r in self.requests if r.arrived and (r.ok or r.running or r.timed_out)]
        ended = [r for r in self.requests if r.counted and (r.ok or r.timed_out)]
        return [*ended, *self.overdue(ended)]

    def overdue(self, ended: Sequence[Request]) -> list[Request]:
        """Requests of a closed loop that outlast the window and have already taken longer than every one that ended in
        it. They certainly belong to the top of the distribution; omitting them would hide hanging requests."""
        longest = max((r.watched_s for r in ended if r.ok), default=None)
        if longest is None:
            return []
        beyond = [r for r in self.requests if (r.ok or r.running) and not r.counted and r.row["end_ns"] >= 0]
        return [r for r in beyond if r.row["in_flight"] and r.watched_s > longest]

    def _censored(self, request: Request, metric: str) -> bool:
        if metric in request.values or (request.ok and metric == "tpot"):
            return False  # the tpot of a one-token answer does not exist, which is not the same as unknown
        if metric.endswith("_scheduled"):
            return self.open_loop
        if metric in TURN_METRICS:
            return metric == _turn_metric(request.row)
        return True


def classify(records: Records) -> Population:
    """Classifies the requests of a window and derives their latencies."""
    columns = records.columns
    info = records.info
    rows = [{name: values[i] for name, values in columns.items()} for i in range(len(records))]
    complete = [row for row in rows if row["complete"] and row["first_ns"] is not None]
    chunks = sum(len(row["gaps_ns"]) + 1 for row in complete)
    tokens_per_chunk = sum(row["output_tokens"] for row in complete) / chunks if chunks else 1.0
    if info.ends_only:
        rows = [_spread_evenly(row) for row in rows]
        tokens_per_chunk = 1.0
    open_loop = any(row["scheduled_ns"] is not None for row in rows)
    return Population(tuple(_derive(row, info, tokens_per_chunk, open_loop=open_loop) for row in rows), open_loop)


def _turn_metric(row: Mapping[str, Any]) -> str | None:
    """The latency that a turn of a conversation has besides ``ttft``."""
    turn = row.get("turn")
    return None if turn is None else TURN_METRICS[turn > 0]


def _spread_evenly(row: dict[str, Any]) -> dict[str, Any]:
    """The row with one chunk per token at an even pace, so that throughput counts only tokens inside the window."""
    tokens = row["output_tokens"]
    span = sum(row["gaps_ns"])
    even = [span / (tokens - 1)] * (tokens - 1) if row["gaps_ns"] and tokens > 1 else []
    return {**row, "gaps_ns": even}


def _derive(row: dict[str, Any], info: RunInfo, tokens_per_chunk: float, *, open_loop: bool) -> Request:
    window_ns = info.window_ns
    failed = row["error"] is not None
    ok = row["complete"] and row["first_ns"] is not None
    sent_ns = row["scheduled_ns"] if open_loop else row["sent_ns"]
    ended_inside = 0 <= row["end_ns"] < window_ns
    outlasted = row["error"] == "timeout" and row["end_ns"] >= window_ns and sent_ns < window_ns
    row["in_flight"] = sent_ns < window_ns <= row["end_ns"] and not row["ramp"]
    arrived = 0 <= sent_ns < window_ns and not row["ramp"]
    if open_loop:
        counted = arrived and (ok or failed)
    else:
        counted = (ended_inside and (ok or failed) and (failed or not row["ramp"])) or outlasted
    request = Request(
        row=row,
        ok=ok,
        arrived=arrived,
        counted=counted,
        ended=ok and ended_inside and not row["ramp"],
        running=not failed and not ok,
        tokens_per_chunk=tokens_per_chunk,
        gaps=np.asarray(row["gaps_ns"], dtype=np.float64) * NS,
    )
    return _with_values(request, info)


def _with_values(request: Request, info: RunInfo) -> Request:
    row = request.row
    gaps = request.gaps
    values = dict[str, float]()
    if row["first_ns"] is None or not (request.ok or request.running or request.timed_out):
        return request
    late = None if row["scheduled_ns"] is None else (row["sent_ns"] - row["scheduled_ns"]) * NS
    if info.answers != "streamed":
        return _with_latency(request, late)
    values["ttft"] = (row["first_ns"] - row["sent_ns"]) * NS
    of_turn = _turn_metric(row)
    if of_turn is not None:
        values[of_turn] = values["ttft"]
    if late is not None:
        values["ttft_scheduled"] = values["ttft"] + late
    if not request.ok:
        return replace(request, values=values)
    tokens = row["output_tokens"]
    span = float(gaps.sum())
    per_chunk = max(tokens / (len(gaps) + 1), 1e-9)
    values["e2e_latency"] = values["ttft"] + span
    if late is not None:
        values["e2e_latency_scheduled"] = values["e2e_latency"] + late
    if len(gaps) and tokens > 1:
        values["tpot"] = span / (tokens - 1)
        if not info.ends_only:
            values["itl"] = float(gaps.mean())
            values["itl_token"] = values["itl"] / max(per_chunk, 1.0)
    return replace(request, values=values, tokens_per_chunk=per_chunk)


def _with_latency(request: Request, late: float | None) -> Request:
    """The request with the only latency of an answer in one piece."""
    if not request.ok:
        return request
    latency = (request.row["first_ns"] - request.row["sent_ns"]) * NS
    values = {"e2e_latency": latency} | ({} if late is None else {"e2e_latency_scheduled": latency + late})
    return replace(request, values=values, tokens_per_chunk=request.row["output_tokens"])
