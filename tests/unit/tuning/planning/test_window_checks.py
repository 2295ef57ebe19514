"""Warnings about windows that are too short for their statistics."""

import json
import re
from pathlib import Path

import pytest

from autotuner.study.check import CheckStatus
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import CapacityLoad, Concurrency, LoadLevel, LoadUnit, RequestRate
from autotuner.testing.samples import sample_spec
from autotuner.tuning.planning.window_checks import window_checks

P99 = SLO(metric="ttft", statistic="p99", threshold=0.2)
FOUR = Concurrency(in_flight=4)


def warned(level: LoadLevel = FOUR, slos: tuple[SLO, ...] = (P99,), **workload: object) -> list[str]:
    spec = sample_spec(slos=slos)
    load = spec.workload.model_copy(update={"levels": (level,), **workload})
    checks = window_checks(spec.model_copy(update={"workload": load}))
    return [f"{c.detail}; {c.remedy}" for c in checks if c.status is CheckStatus.WARN]


def numbers(text: str) -> set[float]:
    return {float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?\b", text)}


def test_p99_of_three_requests() -> None:
    (warning,) = warned(requests=3)
    assert "p99 ttft" in warning
    assert {3, 100} <= numbers(warning)
    assert not warned(requests=100)


@pytest.mark.parametrize(("rate", "many"), [(1.0, 90), (0.5, 45), (4.0, None)])
def test_requests_of_an_open_loop(rate: float, many: int | None) -> None:
    warnings = warned(RequestRate(rate=rate), duration_s=30.0)
    assert bool(warnings) is (many is not None)
    assert many is None or {many, 100} <= numbers(warnings[0])


def test_samples_of_a_closed_loop() -> None:
    assert not warned()
    spec = sample_spec(slos=(P99,))
    assert any("p99 ttft" in c.detail and 100 in numbers(c.detail) for c in window_checks(spec))


@pytest.mark.parametrize(("part", "requests", "span_s"), [("", 61, 60), (" to=5s", 5, 5)])
def test_the_capacity_of_a_trace_costs_replays_and_a_short_one_shows_no_tail(
    tmp_path: Path, part: str, requests: int, span_s: int
) -> None:
    trace = tmp_path / "trace.jsonl"
    row = {"input_tokens": 1, "output_tokens": 1}
    trace.write_text("\n".join(json.dumps({"timestamp": n, **row}) for n in range(61)))
    spec = sample_spec(slos=(P99,))
    searched = {"levels": (CapacityLoad(unit=LoadUnit.SPEED),), "scenarios": (parse_scenario(f"trace:{trace}{part}"),)}
    cost, short = window_checks(spec.model_copy(update={"workload": spec.workload.model_copy(update=searched)}))
    assert {requests, span_s} <= numbers(cost.detail)
    assert short.status is CheckStatus.WARN
    assert {requests, 100} <= numbers(short.detail)


def test_slo_at_another_level_is_ignored() -> None:
    elsewhere = P99.model_copy(update={"at": "concurrency=99"})
    assert not warned(requests=3, slos=(elsewhere,))


def test_percentile_of_an_objective() -> None:
    p95 = Objective(metric="ttft", statistic="p95", direction=Direction.MIN)
    spec = sample_spec(objectives=(p95,), slos=())
    load = spec.workload.model_copy(update={"requests": 12})
    checks = window_checks(spec.model_copy(update={"workload": load}))
    assert any(c.status is CheckStatus.WARN and {12, 20} <= numbers(c.detail) for c in checks)


def test_duration_of_a_window() -> None:
    spec = sample_spec(slos=())
    (check,) = window_checks(spec)
    assert check.status is CheckStatus.OK
    assert {90, 8} <= numbers(check.detail)
    longest = spec.workload.model_copy(update={"max_duration_s": 45.0})
    shorter = numbers(window_checks(spec.model_copy(update={"workload": longest}))[0].detail)
    assert 45 in shorter
    assert 90 not in shorter


def test_the_length_of_an_extended_window_is_a_round_number() -> None:
    spec = sample_spec(slos=())
    load = spec.workload.replaced(duration_s=0.7, max_duration_s=None, requests=None)
    found = [c.detail for c in window_checks(spec.replaced(workload=load)) if c.status is CheckStatus.OK]
    assert any("0.7 s; up to 2.1 s until" in detail for detail in found)
