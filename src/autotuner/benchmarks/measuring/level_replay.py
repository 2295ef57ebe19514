"""Decision about a level, from the records of its requests: what the load generator decided, repeated."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from autotuner.benchmarks.loadgen.http.finish_reasons import MISSING
from autotuner.benchmarks.loadgen.level_watch import SUCCESS
from autotuner.benchmarks.measuring.records import Records
from autotuner.capacity.backlog import Backlog
from autotuner.capacity.level import Bound, LevelState
from autotuner.capacity.level_kinds import level_test
from autotuner.capacity.observation import Observation, ShareCount
from autotuner.capacity.twin.control import Control, Predictions
from autotuner.capacity.twin.model import Latency, TwinModel
from autotuner.study.capacity.level_test import BoundFigures, LevelDecision, LevelPlan, MissControl

Row = Mapping[str, Any]


def decide(records: Records, plan: LevelPlan, requests: Sequence[int]) -> LevelDecision:
    """Tests the level on as many requests as the load generator had when it ended the level.

    Args:
        records: The level's request records.
        plan: What it is tested for.
        requests: Requests of each bound, in the order of arrival.

    Raises:
        ValueError: If the records hold fewer requests.
    """
    bounds = [Bound(bound.slo, bound.limit, bound.allowed) for bound in plan.bounds]
    controls = controls_of(plan)
    test = level_test(bounds, plan.certify, plan.refute, plan.dispersions, controls, replayed=plan.replayed)
    rows = arrivals(records)
    if len(requests) != len(bounds):
        raise ValueError(f"{len(requests)} counts of requests for {len(bounds)} bounds")
    if max(requests) > len(rows):
        raise ValueError(f"the decision rests on {max(requests)} requests, and the records hold {len(rows)}")
    for row in rows:
        test.arrive(row["in_flight"])
    predicted = predictions(plan, all_rows(records))
    for index, count in enumerate(requests):
        for number, row in enumerate(rows[:count]):
            value = _value(row, plan.bounds[index].metric, plan.bounds[index].limit)
            known = predicted.value(index, number)
            if known is None:
                raise ValueError("a prediction depends on arrivals that the records do not hold")
            test.feed(index, value, known)
    if _queue_grows(rows):
        test.saturate()
    return LevelDecision(
        state=test.state.value,
        decided_by=test.decided_by if test.state is LevelState.REFUTED else None,
        requests=tuple(requests),
        memory=test.memory,
        log_evidence_below=test.log_evidence_below,
        log_evidence_above=test.log_evidence_above,
        figures=tuple(_figures(one) for one in test.observations(1.0)),
    )


def arrivals(records: Records) -> list[Row]:
    """The records of requests that arrived in the window, in the order of arrival."""
    window = [row for row in all_rows(records) if row["in_flight"] is not None]
    return sorted(window, key=_arrival)


def all_rows(records: Records) -> list[Row]:
    """The records of all requests, those of the warm-up included."""
    columns = records.columns
    return [{name: values[i] for name, values in columns.items()} for i in range(len(records))]


def controls_of(plan: LevelPlan) -> tuple[Control | None, ...]:
    """The controls of a plan, one per bound, or none at all."""
    return tuple(None if control is None else _control(control) for control in plan.controls)


def stored(control: Control | None) -> MissControl | None:
    """A control as a plan keeps it."""
    if control is None:
        return None
    model = control.model
    return MissControl(
        step=model.step,
        per_request=model.per_request,
        prefill=model.prefill,
        slots=model.slots,
        latency=control.latency.value,
        spread=control.spread,
        expected=control.expected,
        error=control.error,
        settles=control.settles,
    )


def predictions(plan: LevelPlan, rows: Sequence[Row]) -> Predictions:
    """What a plan's controls predict for the requests of an open loop.

    Args:
        plan: How the level is tested.
        rows: All its records, those of the warm-up included, in any order.
    """
    none = (None,) * len(plan.bounds)
    found = Predictions(controls_of(plan) or none, [bound.limit for bound in plan.bounds])
    if not plan.controls:
        return found
    ordered = sorted(rows, key=_arrival)
    for row in ordered:
        at = (row["scheduled_ns"] - ordered[0]["scheduled_ns"]) / 1e9
        found.arrive(at, row["asked_input"], row["asked_output"], counted=row["in_flight"] is not None)
    return found


def _control(control: MissControl) -> Control:
    model = TwinModel(control.step, control.per_request, control.prefill, control.slots)
    return Control(model, Latency(control.latency), control.spread, control.expected, control.error, control.settles)


def _arrival(row: Row) -> tuple[int, int]:
    at = row["scheduled_ns"] if row["scheduled_ns"] is not None else row["sent_ns"]
    return int(at), int(row["index"])


def _queue_grows(rows: Sequence[Row]) -> bool:
    """Whether the server cannot keep up; only an open loop shows it."""
    backlog = Backlog()
    return any(row["scheduled_ns"] is not None and backlog.arrive(row["in_flight"]) for row in rows)


def _figures(one: Observation) -> BoundFigures:
    if isinstance(one, ShareCount):
        return BoundFigures(independent=one.requests, misses=one.misses)
    return BoundFigures(independent=one.requests, distance=one.distance)


def _value(row: Row, metric: str, limit: float) -> float:
    """The value of one bound, in seconds, as the load generator saw it; infinity for a failure or a certain miss."""
    begin = row["scheduled_ns"] if metric.endswith("_scheduled") else row["sent_ns"]
    first = row["first_ns"]
    if first is not None and metric in ("ttft", "ttft_scheduled"):
        return float((first - begin) / 1e9)
    if row["error"] not in (None, MISSING):
        return inf
    if metric == SUCCESS:
        return 0.0
    if not row["complete"] and row["error"] is None:  # cut while it was being answered
        return inf if (row["end_ns"] - begin) / 1e9 > limit else 0.0
    if first is None:
        return 0.0
    span = sum(row["gaps_ns"])
    if metric == "tpot":
        chunks = len(row["gaps_ns"]) + 1
        reported = row["token_source"] == "usage"  # noqa: S105 - not a secret
        tokens = row["output_tokens"] if reported else chunks
        return float(span / 1e9 / (tokens - 1)) if tokens > 1 else 0.0
    return float((first - begin + span) / 1e9)
