"""Outcomes of a level's requests in the order of arrival, from its records: the load generator's decision, repeated."""

from collections.abc import Mapping
from math import inf
from typing import Any

from autotuner.benchmarks.loadgen.http.finish_reasons import MISSING
from autotuner.benchmarks.loadgen.level_watch import SUCCESS
from autotuner.benchmarks.measuring.records import Records
from autotuner.capacity.level import Bound, LevelState, LevelTest
from autotuner.study.capacity.level_test import LevelDecision, LevelPlan

_NS = 1e-9


def replay(records: Records, plan: LevelPlan, decision: LevelDecision) -> LevelTest:
    """Tests the level again, on as many requests as the decision rests on.

    Args:
        records: The level's request records.
        plan: What it was tested for.
        decision: How the test came out; only its counts are used.

    Raises:
        ValueError: If the records hold fewer requests than the decision rests on.
    """
    bounds = [Bound(bound.slo, bound.limit, bound.allowed) for bound in plan.bounds]
    test = LevelTest(bounds, plan.certify, plan.refute, plan.dispersions)
    rows = arrivals(records)
    for row in rows:
        test.arrive(row["in_flight"])
    for index, count in enumerate(decision.requests):
        if count > len(rows):
            raise ValueError(f"the decision rests on {count} requests, and the records hold {len(rows)}")
        for row in rows[:count]:
            test.feed(index, _value(row, plan.bounds[index].metric, plan.bounds[index].limit))
    return test


def arrivals(records: Records) -> list[Mapping[str, Any]]:
    """The records of requests that arrived in the window, in the order of arrival."""
    columns = records.columns
    rows = [{name: values[i] for name, values in columns.items()} for i in range(len(records))]
    window = [row for row in rows if row["in_flight"] is not None]
    return sorted(window, key=_arrival)


def holds(test: LevelTest, decision: LevelDecision) -> bool:
    """Whether the repeated test supports a recorded decision."""
    state = LevelState(decision.state)
    counts = tuple(one.requests for one in test.tests)
    return counts == decision.requests and test.supports(state)


def _arrival(row: Mapping[str, Any]) -> tuple[int, int]:
    at = row["scheduled_ns"] if row["scheduled_ns"] is not None else row["sent_ns"]
    return int(at), int(row["index"])


def _value(row: Mapping[str, Any], metric: str, limit: float) -> float:
    """The value of one bound, in seconds, as the load generator saw it; infinity for a failure or a certain miss."""
    if row["error"] not in (None, MISSING):
        return inf
    if metric == SUCCESS:
        return 0.0
    begin = row["scheduled_ns"] if metric.endswith("_scheduled") else row["sent_ns"]
    first = row["first_ns"]
    if first is not None and metric in ("ttft", "ttft_scheduled"):
        return float((first - begin) * _NS)
    if not row["complete"] and row["error"] is None:  # cut while it was being answered
        return inf if (row["end_ns"] - begin) * _NS > limit else 0.0
    if first is None:
        return 0.0
    span = sum(row["gaps_ns"])
    if metric == "tpot":
        chunks = len(row["gaps_ns"]) + 1
        reported = row["token_source"] == "usage"  # noqa: S105 - not a secret
        tokens = row["output_tokens"] if reported else chunks
        return float(span * _NS / (tokens - 1)) if tokens > 1 else 0.0
    return float((first - begin + span) * _NS)
