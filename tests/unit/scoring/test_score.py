"""Verdicts: nothing that an operator would not want is rewarded."""

import math
from collections.abc import Sequence

import pytest

from autotuner.scoring import score
from autotuner.study.measurement import Distribution, Measurement, SelfCheck, Slice
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.verdict import Verdict
from autotuner.study.workload import Concurrency

ONE = Concurrency(in_flight=1)
EIGHT = Concurrency(in_flight=8)
EXPECTED = [("D(8,8)", ONE), ("D(8,8)", EIGHT)]
THROUGHPUT = Objective(metric="output_throughput", direction=Direction.MAX)
TTFT = Objective(metric="ttft", statistic="p99", direction=Direction.MIN)
TTFT_SLO = SLO(metric="ttft", statistic="p99", threshold=0.2)


def spread(p99: float) -> Distribution:
    return Distribution(
        count=100, mean=p99 / 2, std=0, min=0, p50=p99 / 2, p75=p99, p90=p99, p95=p99, p99=p99, p99_9=p99, max=p99
    )


def window(
    level: Concurrency, *, ttft: float = 0.1, throughput: float = 100.0, failed: int = 0, limited: bool = False
) -> Measurement:
    return Measurement(
        scenario="D(8,8)",
        level=level,
        window_s=10,
        requests=100,
        failed=failed,
        distributions={"ttft": spread(ttft)},
        scalars={"output_throughput": throughput, "success_rate": (100 - failed) / 100},
        self_check=SelfCheck(client_limited=limited, reasons=("loop lag",) if limited else ()),
    )


def verdict(
    measurements: Sequence[Measurement],
    slos: Sequence[SLO] = (),
    objectives: Sequence[Objective] = (THROUGHPUT, TTFT),
    *,
    min_success_rate: float = 0.99,
) -> Verdict:
    return score(measurements, objectives, slos, min_success_rate=min_success_rate, expected=EXPECTED)


def test_an_slo_of_a_part_is_judged_by_its_requests_alone() -> None:
    slow = Slice(name="part 2", label="1 D(9,9)", requests=50, failed=2, distributions={"ttft": spread(0.3)})
    calm = window(ONE).replaced(slices=(slow.replaced(name="part 1", distributions={"ttft": spread(0.1)}), slow))
    other = window(EIGHT)

    def missed(slo: SLO) -> list[tuple[str, float | None]]:
        return [(v.where, v.value) for v in verdict([calm, other], [slo]).violations]

    first = TTFT_SLO.replaced(of="part 1", at=ONE.text)
    assert missed(first) == []
    assert missed(first.replaced(of="part 2")) == [("D(8,8) concurrency=1", 0.3)]
    assert missed(first.replaced(at=None)) == [("D(8,8) concurrency=8", None)], "what was not measured is not met"
    share = SLO(metric="success_rate", comparison=Comparison.GE, threshold=0.99, of="part 2", at=ONE.text)
    assert missed(share) == [("D(8,8) concurrency=1", 0.96)]
    few = calm.replaced(slices=(slow.replaced(name="part 1", distributions={"ttft": spread(0.1).replaced(count=9)}),))
    assert verdict([few, other], [first]).unsure == ("p99 ttft of part 1 of 9 requests",)


def test_objective_over_levels_is_a_geometric_mean_or_the_worst_latency() -> None:
    found = verdict([window(ONE, throughput=100, ttft=0.1), window(EIGHT, throughput=400, ttft=0.3)])
    assert found.feasible
    assert found.rankable
    assert found.objectives == (pytest.approx(200), 0.3)


def test_objective_at_one_level_ignores_the_others() -> None:
    at_one = THROUGHPUT.model_copy(update={"at": "concurrency=1"})
    found = verdict([window(ONE, throughput=100), window(EIGHT, throughput=400)], objectives=[at_one])
    assert found.objectives == (pytest.approx(100),)


def test_success_rate_is_the_lowest_of_all_levels() -> None:
    objective = Objective(metric="success_rate", direction=Direction.MAX)
    assert verdict([window(ONE, failed=1), window(EIGHT)], objectives=[objective]).objectives == (0.99,)


def test_missing_level_is_infeasible() -> None:
    found = verdict([window(ONE)])
    assert not found.feasible
    assert [(v.slo, v.where, v.value, v.relative) for v in found.violations] == [
        ("success_rate", "D(8,8) concurrency=8", None, 1.0)
    ]
    assert found.objectives == (None, None)


def test_errors_at_a_single_level_are_infeasible() -> None:
    assert verdict([window(ONE), window(EIGHT, failed=1)]).feasible
    found = verdict([window(ONE), window(EIGHT, failed=2)])
    assert not found.feasible
    assert found.total_violation == pytest.approx(0.01 / 0.99)


def test_errors_count_despite_a_higher_reported_rate() -> None:
    lying = window(EIGHT, failed=50).model_copy(update={"scalars": {"output_throughput": 1.0, "success_rate": 1.0}})
    assert not verdict([window(ONE), lying]).feasible


def test_window_without_requests_has_a_success_rate_of_zero() -> None:
    silent = window(EIGHT).model_copy(update={"requests": 0, "scalars": {"output_throughput": 1.0}})
    assert verdict([window(ONE), silent]).total_violation == 1.0


@pytest.mark.parametrize("level", [0, 1])
def test_every_level_must_meet_an_slo(level: int) -> None:
    both = [window(ONE), window(EIGHT)]
    both[level] = window(EXPECTED[level][1], ttft=0.3)
    found = verdict(both, [TTFT_SLO])
    assert not found.feasible
    assert found.total_violation == pytest.approx(0.5)
    assert found.violations[0].where == f"D(8,8) {EXPECTED[level][1].text}"


def test_violation_is_continuous_at_the_threshold() -> None:
    on = verdict([window(ONE, ttft=0.2), window(EIGHT)], [TTFT_SLO])
    over = verdict([window(ONE, ttft=math.nextafter(0.2, 1)), window(EIGHT)], [TTFT_SLO])
    assert on.feasible
    assert on.total_violation == 0
    assert not over.feasible
    assert 0 < over.total_violation < 1e-12


def test_lower_bound_on_a_rate() -> None:
    slo = SLO(metric="output_throughput", comparison=Comparison.GE, threshold=200)
    found = verdict([window(ONE, throughput=100), window(EIGHT, throughput=300)], [slo])
    assert found.total_violation == pytest.approx(0.5)


def test_soft_slo_is_a_weighted_penalty() -> None:
    soft = TTFT_SLO.model_copy(update={"hard": False, "weight": 3.0})
    found = verdict([window(ONE, ttft=0.3), window(EIGHT, ttft=0.22)], [soft])
    assert found.feasible
    assert found.total_violation == 0
    assert found.penalty == pytest.approx(3 * (0.5 + 0.1))


def test_soft_slos_with_the_same_text_keep_their_weights() -> None:
    soft = [TTFT_SLO.model_copy(update={"hard": False, "weight": w}) for w in (1.0, 2.0)]
    assert verdict([window(ONE, ttft=0.4), window(EIGHT)], soft).penalty == pytest.approx(3.0)


def test_slo_on_single_requests_only_affects_goodput() -> None:
    per_request = TTFT_SLO.model_copy(update={"statistic": None, "threshold": 0.001})
    assert verdict([window(ONE), window(EIGHT)], [per_request]).feasible


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_value_that_is_not_finite_never_meets_an_slo(bad: float) -> None:
    broken = window(EIGHT, throughput=bad).model_copy(update={"distributions": {"ttft": spread(bad)}})
    found = verdict([window(ONE), broken], [TTFT_SLO])
    assert not found.feasible
    assert found.total_violation == 1.0
    assert found.objectives == (None, None)
    assert not found.rankable


def test_value_that_was_not_measured_violates_its_slo() -> None:
    slo = SLO(metric="tpot", statistic="p99", threshold=0.1, at="concurrency=8")
    found = verdict([window(ONE), window(EIGHT)], [slo])
    assert [(v.value, v.relative) for v in found.violations] == [(None, 1.0)]


def test_slo_at_a_level_that_is_not_measured_is_violated() -> None:
    slo = TTFT_SLO.model_copy(update={"at": "concurrency=64"})
    assert not verdict([window(ONE), window(EIGHT)], [slo]).feasible


def test_limited_load_generator_is_unrankable_with_a_reason() -> None:
    found = verdict([window(ONE), window(EIGHT, limited=True)])
    assert not found.rankable
    (reason,) = found.reasons
    assert reason.endswith("D(8,8) concurrency=8: loop lag")


def test_throughput_of_zero_makes_the_mean_zero() -> None:
    assert verdict([window(ONE, throughput=0), window(EIGHT)]).objectives[0] == 0


def test_violation_of_a_threshold_of_zero_is_absolute() -> None:
    slo = SLO(metric="ttft", statistic="p99", threshold=0.0)
    assert verdict([window(ONE), window(EIGHT)], [slo]).total_violation == pytest.approx(0.2)


def overload(seen: Measurement, **more: object) -> Measurement:
    return seen.model_copy(update={"overloaded": True, **more})


def test_overloaded_window_meets_no_latency_slo() -> None:
    found = verdict([window(ONE), overload(window(EIGHT))], [TTFT_SLO], [THROUGHPUT])
    assert [(v.where, v.value, v.relative) for v in found.violations] == [("D(8,8) concurrency=8", None, 1.0)]
    assert not found.feasible
    assert found.rankable, "its rates under overload are valid"
    assert found.overloaded == ("D(8,8) concurrency=8",)
    assert len(found.reasons) == 1
    missed = verdict([window(ONE), overload(window(EIGHT, ttft=0.5))], [TTFT_SLO], [THROUGHPUT])
    assert [v.value for v in missed.violations] == [0.5]


def test_latency_under_overload_is_not_a_valid_objective() -> None:
    found = verdict([window(ONE), overload(window(EIGHT))], objectives=[TTFT])
    assert found.objectives == (None,)
    assert not found.rankable
    assert found.overloaded == ("D(8,8) concurrency=8",)
    assert len(found.reasons) == 2, "the overload, and the objective without a value"


def test_unknown_percentile_meets_no_slo() -> None:
    censored = spread(0.1).model_copy(update={"p99": None, "p99_9": None, "max": None, "censored": 2})
    seen = window(EIGHT).model_copy(update={"distributions": {"ttft": censored}})
    found = verdict([window(ONE), seen], [TTFT_SLO])
    assert [(v.value, v.relative) for v in found.violations] == [(None, 1.0)]
    assert found.objectives[1] is None
    assert not found.rankable


def test_thin_window_is_unrankable() -> None:
    found = verdict([window(ONE), window(EIGHT).model_copy(update={"thin": ("3 requests finished",)})])
    assert found.feasible
    assert not found.rankable
    assert any("3 requests finished" in reason for reason in found.reasons)


def test_uncertainty_belongs_to_the_value() -> None:
    one = window(ONE, ttft=0.1).model_copy(update={"uncertainty": {"output_throughput": 0.03, "p99 ttft": 0.5}})
    eight = window(EIGHT, ttft=0.3).model_copy(update={"uncertainty": {"output_throughput": 0.04, "p99 ttft": 0.2}})
    found = verdict([one, eight])
    assert found.uncertainty == (pytest.approx(0.025), 0.2), "of a geometric mean; of the worst place"
    assert verdict([one, window(EIGHT)]).uncertainty == (None, None)


def test_percentile_beyond_its_sample_is_named() -> None:
    few = window(EIGHT).model_copy(update={"distributions": {"ttft": spread(0.1).model_copy(update={"count": 30})}})
    found = verdict([window(ONE), few], [TTFT_SLO], [THROUGHPUT])
    assert found.feasible
    assert found.rankable
    assert found.unsure == ("p99 ttft of 30 requests",)
    assert verdict([window(ONE), window(EIGHT)], [TTFT_SLO]).unsure == ()


def lagging(level: Concurrency, lag_s: float, **values: float) -> Measurement:
    check = SelfCheck(client_limited=True, loop_lag_p99_s=lag_s, reasons=("loop lag",))
    return window(level, ttft=values.get("ttft", 0.1), throughput=values.get("throughput", 100.0)).replaced(
        self_check=check
    )


@pytest.mark.parametrize(("lag_s", "doubtful"), [(0.2, True), (0.01, False)])
def test_a_latency_that_the_load_generator_may_have_caused_is_doubtful(lag_s: float, *, doubtful: bool) -> None:
    """It notices an answer late by as much as its event loop lags, twice at most: when it sends and when it reads."""
    bound = SLO(metric="ttft", statistic="p99", threshold=0.2)
    found = verdict([window(ONE), lagging(EIGHT, lag_s, ttft=0.4)], [bound])
    assert (found.feasible, found.rankable, found.doubtful) == (False, False, doubtful)
    assert not verdict([window(ONE), lagging(EIGHT, 0.2, ttft=0.2)], [bound]).doubtful, "it is met"
    assert not verdict([window(ONE, ttft=0.3), lagging(EIGHT, 0.2, ttft=0.3)], [bound]).doubtful, "missed elsewhere"


@pytest.mark.parametrize(("value", "doubtful"), [(0.012, True), (0.02, False)])
def test_a_lag_may_have_caused_little_of_a_tpot(value: float, *, doubtful: bool) -> None:
    """29 ms are 0.9 ms of the time per token of an answer with 33 of them; twice as much is in doubt."""
    bound = SLO(metric="tpot", statistic="p99", threshold=0.0105)
    check = SelfCheck(client_limited=True, loop_lag_p99_s=0.029, tpot_lag_s=0.029 / 32, send_lag_p99_s=0.05)
    one = window(ONE).replaced(distributions={"tpot": spread(0.01)})
    limited = lagging(EIGHT, 0.029).replaced(distributions={"tpot": spread(value)})
    assert verdict([one, limited.replaced(self_check=check)], [bound]).doubtful is doubtful
    assert verdict([one, limited], [bound]).doubtful, "measured by an earlier version, which did not know the gaps"


def test_a_rate_that_the_load_generator_may_have_caused_is_doubtful_but_failed_requests_are_not() -> None:
    bound = SLO(metric="output_throughput", comparison=Comparison.GE, threshold=50)
    limited = lagging(EIGHT, 0.2, throughput=20)
    assert verdict([window(ONE), limited], [bound]).doubtful
    failed = limited.replaced(failed=50, scalars={"output_throughput": 20.0, "success_rate": 0.5})
    assert not verdict([window(ONE), failed], [bound]).doubtful
