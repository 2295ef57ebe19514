"""Levels of a capacity search: verdict, load and text."""

import pytest

from autotuner.cli.capacity.page import curve_lines
from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.capacity.units import LOAD_KINDS, load_level, load_text
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.metric import CAPACITY_METRICS, METRICS, PER_GPU
from autotuner.study.workload import Concurrency, LoadUnit, RequestRate, TraceSpeed


@pytest.mark.parametrize(
    ("unit", "load", "level", "text"),
    [
        (LoadUnit.RATE, 12.4, RequestRate(rate=12.4), "12.4 requests/s"),
        (LoadUnit.RATE, 0.123456, RequestRate(rate=0.123456), "0.1235 requests/s"),
        (LoadUnit.CONCURRENCY, 32.0, Concurrency(in_flight=32), "32 in flight"),
        (LoadUnit.SPEED, 1.41421, TraceSpeed(speed=1.41421), "1.414x speed"),
    ],
)
def test_level_and_text_of_a_load(unit: LoadUnit, load: float, level: object, text: str) -> None:
    assert load_level(unit, load) == level
    assert load_text(unit, load) == text


def test_every_unit_has_a_kind_and_a_metric_with_its_form_per_gpu() -> None:
    assert LOAD_KINDS.keys() == CAPACITY_METRICS.keys() == set(LoadUnit)
    assert all({name, name + PER_GPU} <= METRICS.keys() for name in CAPACITY_METRICS.values())


def replay(speed: float, state: str) -> CapacityLevel:
    decision = LevelDecision.model_validate(
        {"state": state, "requests": (9,), "log_evidence_below": 1.0, "log_evidence_above": 0.0}
    )
    bound = CapacityBound(slo="p90 ttft <= 1s", metric="ttft", limit=1.0, allowed=0.1)
    plan = LevelPlan(bounds=(bound,), certify=0.1, refute=0.1, requests=9)
    level = TraceSpeed(speed=speed)
    measured = Measurement(scenario="D(1,1)", level=level, window_s=1, requests=9, failed=0, arrived=9)
    return CapacityLevel(load=speed, plan=plan, decision=decision, measurement=measured)


def limited(level: CapacityLevel) -> CapacityLevel:
    check = SelfCheck(client_limited=True, reasons=("loop lag",))
    return level.replaced(measurement=level.measurement.replaced(self_check=check))


def test_the_verdict_of_a_limited_load_generator_does_not_count() -> None:
    level = replay(1.0, "certified")
    assert level.verdict == "certified"
    assert limited(level).verdict == "not counted: client limited"


@pytest.mark.parametrize(
    ("between", "undecided"),
    [(replay(1.05, "open"), True), (replay(1.4, "open"), False), (limited(replay(1.05, "open")), False)],
)
def test_a_replay_without_a_verdict_close_to_the_certified_speed_keeps_the_ends_apart(
    between: CapacityLevel, *, undecided: bool
) -> None:
    levels = (replay(1.0, "certified"), replay(2.0, "refuted"), between)
    found = CapacityResult(
        scenario="D(1,1)",
        unit=LoadUnit.SPEED,
        precision=0.1,
        confidence=None,
        certified=1.0,
        refuted=2.0,
        levels=levels,
    )
    assert found.undecided is undecided
    (shown,) = [line for line in curve_lines(found) if "apart" in line]
    assert ("not decided" in shown) is undecided
