"""Sentences about trials that were cut name what decided."""

from collections.abc import Sequence
from typing import Any

from autotuner.report.racing import racing_text
from autotuner.report.result import study_result
from autotuner.study.configuration import DEFAULT
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.spec import StudySpec
from autotuner.study.text.forms import parse_objective, parse_slo
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency
from autotuner.tuning.racing.cuts import cut_by_levels
from autotuner.tuning.verdicts import verdict_on
from support.studies.windows import window

LEVELS = (Concurrency(in_flight=1), Concurrency(in_flight=8))


def study(loop: Any, slo: str) -> StudySpec:
    spec: StudySpec = loop.spec(racing="levels", trials=2)
    workload = spec.workload.replaced(levels=LEVELS)
    return spec.replaced(
        workload=workload, objectives=(parse_objective("min p99 ttft"),), slos=(parse_slo(slo),) if slo else ()
    )


def complete(spec: StudySpec, number: int, ttft: float) -> Trial:
    windows = tuple(window(level, ttft=ttft) for level in LEVELS)
    return Trial(
        study="s",
        number=number,
        role=TrialRole.SEARCH if number else TrialRole.DEFAULT,
        configuration=DEFAULT,
        state=TrialState.DONE,
        measurements=windows,
        verdict=verdict_on(spec, windows),
    )


def text(spec: StudySpec, measured: Measurement, others: Sequence[Trial]) -> str:
    cut = cut_by_levels(spec, (measured,), others, 99)
    assert cut is not None
    return cut.text.removeprefix("cut after 1 of 2 levels: ")


def test_a_value_that_was_not_measured_decides_before_the_size_of_violations(loop: Any) -> None:
    spec = study(loop, "p99 ttft <= 200ms")
    assert text(spec, window(LEVELS[0], ttft=None), [complete(spec, 3, 0.8)]) == (
        "p99 ttft <= 200ms has no valid measurement at D(16,8) concurrency=1, and trial 3 lacks no value"
    )
    assert text(spec, window(LEVELS[0], ttft=None), [complete(spec, 3, 0.1)]) == (
        "p99 ttft <= 200ms has no valid measurement at D(16,8) concurrency=1, and trial 3 meets all SLOs"
    )
    assert "by at least 400% in total" in text(spec, window(LEVELS[0], ttft=1.0), [complete(spec, 3, 0.3)])


def test_the_penalty_for_soft_slos_is_named_where_it_counts(loop: Any) -> None:
    spec = study(loop, "")
    rival = [complete(spec, n, 0.2) for n in (1, 2, 3)]
    soft = spec.replaced(slos=(parse_slo("p99 ttft <= 100ms").replaced(hard=False, weight=5.0),))
    counted = text(soft, window(LEVELS[0], ttft=0.15), rival)
    assert "is 150ms at best and counts as 525ms because of missed soft SLOs; trial" in counted
    assert "counts" not in text(spec, window(LEVELS[0], ttft=0.3), rival)


def test_one_trial_is_singular(loop: Any) -> None:
    spec = study(loop, "p99 ttft <= 200ms")
    best = complete(spec, 0, 0.1)
    measured = (window(LEVELS[0], ttft=0.5),)
    cut = cut_by_levels(spec, measured, [best], 1)
    lost = complete(spec, 1, 0.5).replaced(measurements=measured, cut=cut, verdict=verdict_on(spec, measured, cut))
    assert racing_text(study_result(spec, "done", (best, lost))).startswith("Racing cut 1 of 1 trial: 1 level was")


def test_a_load_generator_that_cannot_keep_up_decides_nothing(loop: Any) -> None:
    spec = study(loop, "p99 ttft <= 200ms")
    slow = window(LEVELS[0], ttft=0.5)
    limited = slow.replaced(self_check=SelfCheck(client_limited=True, loop_lag_p99_s=0.3))
    assert text(spec, slow, [complete(spec, 3, 0.1)]).endswith("trial 3 meets all SLOs")
    assert cut_by_levels(spec, (limited,), [complete(spec, 3, 0.1)], 99) is None
