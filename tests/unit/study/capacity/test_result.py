"""Capacity settings, and the load level and text of a load."""

import pytest
from pydantic import ValidationError

from autotuner.study.capacity.result import CapacitySettings
from autotuner.study.capacity.units import LOAD_KINDS, load_level, load_text
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


@pytest.mark.parametrize("settings", [{"precision": "0%"}, {"confidence": 1}, {"max_requests": 10}, {"low": 0}])
def test_settings_out_of_range(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CapacitySettings.model_validate(settings)


def test_shares_may_be_written_in_percent() -> None:
    found = CapacitySettings.model_validate({"precision": "5%", "confidence": "99%"})
    assert (found.precision, found.confidence) == (0.05, 0.99)
