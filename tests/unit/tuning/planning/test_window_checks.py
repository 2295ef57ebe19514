"""What a plan says of windows that are too short for what is asked of them."""

import pytest

from autotuner.study.check import CheckStatus
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.workload import Concurrency, LoadLevel, RequestRate
from autotuner.testing.samples import sample_spec
from autotuner.tuning.planning.window_checks import window_checks

P99 = SLO(metric="ttft", statistic="p99", threshold=0.2)
FOUR = Concurrency(in_flight=4)


def warned(level: LoadLevel = FOUR, slos: tuple[SLO, ...] = (P99,), **workload: object) -> list[str]:
    spec = sample_spec(slos=slos)
    load = spec.workload.model_copy(update={"levels": (level,), **workload})
    checks = window_checks(spec.model_copy(update={"workload": load}))
    return [f"{c.detail}; {c.remedy}" for c in checks if c.status is CheckStatus.WARN]


def test_a_p99_of_three_requests_is_warned_of() -> None:
    (said,) = warned(requests=3)
    assert "p99 ttft" in said
    assert "at most 3 requests" in said
    assert "at least 100" in said
    assert not warned(requests=100)


@pytest.mark.parametrize(("rate", "many"), [(1.0, 90), (0.5, 45), (4.0, None)])
def test_an_open_loop_tells_its_requests_beforehand(rate: float, many: int | None) -> None:
    said = warned(RequestRate(rate=rate), duration_s=30.0)
    assert bool(said) is (many is not None)
    assert many is None or f"at most {many} requests" in said[0]


def test_a_closed_loop_says_what_is_needed() -> None:
    assert not warned()
    spec = sample_spec(slos=(P99,))
    assert any("at least 100 finished requests" in c.detail for c in window_checks(spec))


def test_a_bound_at_another_level_does_not_count() -> None:
    elsewhere = P99.model_copy(update={"at": "concurrency=99"})
    assert not warned(requests=3, slos=(elsewhere,))


def test_an_objectives_percentile_counts_too() -> None:
    p95 = Objective(metric="ttft", statistic="p95", direction=Direction.MIN)
    spec = sample_spec(objectives=(p95,), slos=())
    load = spec.workload.model_copy(update={"requests": 12})
    checks = window_checks(spec.model_copy(update={"workload": load}))
    assert any(c.status is CheckStatus.WARN and "at least 20" in c.detail for c in checks)


def test_the_bound_of_a_window_is_said() -> None:
    spec = sample_spec(slos=())
    (check,) = window_checks(spec)
    assert (check.status, "up to 90 s" in check.detail, "8 requests" in check.detail) == (CheckStatus.OK, True, True)
    longest = spec.workload.model_copy(update={"max_duration_s": 45.0})
    assert "up to 45 s" in window_checks(spec.model_copy(update={"workload": longest}))[0].detail
