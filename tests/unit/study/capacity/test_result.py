"""Capacity settings, and the load level and text of a load."""

import pytest
from pydantic import ValidationError

from autotuner.study.capacity.result import CapacitySettings, LoadUnit, load_level, load_text
from autotuner.study.workload import Concurrency, RequestRate


@pytest.mark.parametrize(
    ("unit", "load", "level", "text"),
    [
        (LoadUnit.RATE, 12.4, RequestRate(rate=12.4), "12.4 requests/s"),
        (LoadUnit.RATE, 0.123456, RequestRate(rate=0.123456), "0.1235 requests/s"),
        (LoadUnit.CONCURRENCY, 32.0, Concurrency(in_flight=32), "32 in flight"),
    ],
)
def test_level_and_text_of_a_load(unit: LoadUnit, load: float, level: object, text: str) -> None:
    assert load_level(unit, load) == level
    assert load_text(unit, load) == text


@pytest.mark.parametrize("settings", [{"precision": "0%"}, {"confidence": 1}, {"max_requests": 10}, {"low": 0}])
def test_settings_out_of_range(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CapacitySettings.model_validate(settings)


def test_shares_may_be_written_in_percent() -> None:
    found = CapacitySettings.model_validate({"precision": "5%", "confidence": "99%"})
    assert (found.precision, found.confidence) == (0.05, 0.99)
