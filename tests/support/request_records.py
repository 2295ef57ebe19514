"""Request records made by hand, for tests of what is computed from them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autotuner.benchmarks.measuring.records import Records, RunInfo, from_rows
from autotuner.benchmarks.measuring.requirements import Limits, Requirements
from autotuner.study.metric import METRICS
from autotuner.study.objective import SLO, Objective
from autotuner.study.workload import Concurrency, RequestRate

S = 1_000_000_000
"""Nanoseconds of a second."""
MS = 1_000_000


def row(**changes: Any) -> dict[str, Any]:
    """A request with 5 tokens in 5 chunks: the first after 50 ms, then one every 10 ms."""
    fields = {
        "index": 0,
        "scheduled_ns": None,
        "sent_ns": 1 * S,
        "lag_ns": 0,
        "end_ns": 1 * S + 100 * MS,
        "connect_ns": 0,
        "first_ns": 1 * S + 50 * MS,
        "gaps_ns": [10 * MS] * 4,
        "asked_input": 16,
        "asked_output": 5,
        "input_tokens": 16,
        "output_tokens": 5,
        "token_source": "usage",
        "complete": True,
        "ramp": False,
        "error": None,
        "detail": "",
    }
    return {**fields, **changes}


def failed(**changes: Any) -> dict[str, Any]:
    """A request that failed before its first token."""
    return row(
        **{"complete": False, "error": "http_500", "first_ns": None, "gaps_ns": [], "output_tokens": 0, **changes}
    )


def moved(found: dict[str, Any], by_ns: int) -> dict[str, Any]:
    """The same request at another time."""
    times = {k: found[k] + by_ns for k in ("sent_ns", "end_ns", "first_ns", "scheduled_ns") if found[k] is not None}
    return {**found, **times}


def arrival(at_s: float, wait_s: float, length_s: float, *, ended: bool = True, **changes: Any) -> dict[str, Any]:
    """An open-loop request: its first token after ``wait_s``, and its end (or that of the watch) ``length_s`` later."""
    at = round(at_s * S)
    first = round((at_s + wait_s) * S)
    end = first + round(length_s * S)
    return row(
        scheduled_ns=at,
        sent_ns=at,
        first_ns=first,
        end_ns=end,
        gaps_ns=[end - first],
        output_tokens=2,
        complete=ended,
        **changes,
    )


def spread(times: Sequence[float], ttfts: Sequence[float]) -> list[dict[str, Any]]:
    """Requests sent at these times with these TTFTs, in seconds."""
    return [
        row(sent_ns=round(at * S), first_ns=round((at + ttft) * S), end_ns=round((at + ttft) * S) + 41 * MS)
        for at, ttft in zip(times, ttfts, strict=True)
    ]


def records(
    rows: Sequence[dict[str, Any]], *, window_s: float = 10.0, slos: tuple[SLO, ...] = (), **info: Any
) -> Records:
    """Records of a window of D(16,5) with 2 requests in flight, or of an open loop if ``asked_rate`` is given."""
    level = RequestRate(rate=info["asked_rate"]) if "asked_rate" in info else Concurrency(in_flight=2)
    requirements = Requirements(scenario="D(16,5)", level=level, slos=slos, limits=Limits())
    facts = RunInfo(**{"window_ns": round(window_s * S), "begin_epoch_s": 1.0, **info})
    return from_rows(rows, facts, requirements.model_dump(mode="json"))


def required(found: Records, *objectives: str, slos: tuple[SLO, ...] = (), fewest: int = 8) -> Records:
    """The records with objectives such as ``ttft p50``, SLOs, and a minimum of finished requests."""
    requirements = Requirements.model_validate(found.where)
    changes = {"objectives": tuple(map(_objective, objectives)), "fewest": fewest, "slos": slos}
    return replace(found, where=requirements.model_copy(update=changes).model_dump(mode="json"))


def _objective(text: str) -> Objective:
    metric, _, statistic = text.partition(" ")
    return Objective(metric=metric, statistic=statistic or None, direction=METRICS[metric].better)


def numbers(text: str) -> list[float]:
    """The numbers in a sentence, in their order."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
