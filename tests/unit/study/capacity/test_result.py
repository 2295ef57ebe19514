"""Levels of a capacity search: verdict, load and text."""

import pytest

from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan
from autotuner.study.capacity.result import CapacityLevel
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


def test_the_verdict_of_a_limited_load_generator_does_not_count() -> None:
    decision = LevelDecision(state="certified", requests=(9,), log_evidence_below=1.0, log_evidence_above=0.0)
    bound = CapacityBound(slo="p90 ttft <= 1s", metric="ttft", limit=1.0, allowed=0.1)
    plan = LevelPlan(bounds=(bound,), certify=0.1, refute=0.1, requests=9)
    measured = Measurement(scenario="D(1,1)", level=TraceSpeed(), window_s=1, requests=9, failed=0, arrived=9)
    level = CapacityLevel(load=1.0, plan=plan, decision=decision, measurement=measured)
    assert level.verdict == "certified"
    limited = measured.replaced(self_check=SelfCheck(client_limited=True, reasons=("loop lag",)))
    assert level.replaced(measurement=limited).verdict == "not counted: client limited"
