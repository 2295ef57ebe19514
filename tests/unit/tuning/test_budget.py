"""Budgets of time and GPU hours."""

from typing import Any

import pytest

from autotuner.study.check import CheckStatus
from autotuner.study.configuration import DEFAULT
from autotuner.study.quality.result import QualityResult, QualityState
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.spec import SearchSpec
from autotuner.study.trial import Phase, Trial, TrialRole, TrialState
from autotuner.tuning.budget import (
    Budget,
    SearchClock,
    gpu_hours_too_few,
    gpu_hours_used_up,
    searched_s,
    time_too_short,
    time_used_up,
)
from autotuner.tuning.planning.plan import budget_checks, estimate_s, make_plan
from autotuner.tuning.planning.resume_decision import Standing
from autotuner.tuning.quality.check_time import measured


class Time:
    """A monotonic clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def trial(seconds: float, number: int = 0, **changes: Any) -> Trial:
    made = Trial(study="s", number=number, role=TrialRole.SEARCH, configuration=DEFAULT, state=TrialState.DONE)
    facts = {"started_at": 10.0, "finished_at": 10.0 + seconds, "phases": {"queued": 50.0, "measuring": seconds}}
    return made.model_copy(update={**facts, **changes})


def budget(spent_s: float = 0.0, *, least_s: float = 0.0, **search: Any) -> Budget:
    clock = SearchClock()
    clock.set(spent_s)
    return Budget(SearchSpec(**search), clock, least_s=least_s)


def test_no_limit_is_never_used_up() -> None:
    assert budget(1e9).used_up([trial(1e9)]) == ""


def test_time_budget_counts_wall_clock_time() -> None:
    assert budget(99, time_s=100).used_up([]) == ""
    for parallel in (1, 4):
        assert budget(100, time_s=100, parallel=parallel).used_up([]) == time_used_up(100)


def test_trial_that_cannot_end_in_time_is_not_started() -> None:
    made = [trial(5.0), trial(7.0), trial(6.0), trial(0.5, state=TrialState.FAILED)]
    assert budget(94, time_s=100).used_up(made) == ""
    assert budget(94.5, time_s=100).used_up(made) == time_too_short(100, 5.5, 6)
    assert budget(94.5, time_s=100, least_s=4).used_up([]) == "", "only the duration of its windows is known"
    assert budget(96.5, time_s=100, least_s=4).used_up([]) == time_too_short(100, 3.5, 4)
    assert budget(time_s=100).latest_s(made) == 106


def test_clock_counts_concurrent_trials_once() -> None:
    time = Time()
    clock = SearchClock(time)
    clock.set(30.0)
    clock.start()
    for number in (1, 2):
        clock.began(number)
        clock.entered(number, Phase.LAUNCHING)
    time.now += 10
    clock.ended(1)
    time.now += 5
    assert clock.spent_s == 45
    assert clock.worked_s(2) == 15
    clock.ended(2)
    clock.stop()
    time.now += 1000
    assert clock.spent_s == 45, "the proof and the pause until the next session are not charged"


def test_clock_stops_while_all_trials_are_queued() -> None:
    time = Time()
    clock = SearchClock(time)
    clock.start()
    clock.began(1)
    time.now += 100
    clock.entered(1, Phase.LAUNCHING)
    time.now += 1
    clock.began(2)
    time.now += 1
    assert clock.spent_s == 2, "one of two trials is queued"
    clock.entered(1, Phase.QUEUED)
    time.now += 100
    assert (clock.spent_s, clock.worked_s(1), clock.worked_s(2)) == (2, 2, 0)


def test_gpu_hours_count_only_trials_with_gpus() -> None:
    made = budget(gpu_hours=1)
    assert made.used_up([trial(7200)]) == ""
    assert made.used_up([trial(1800, gpus=2)]) == gpu_hours_used_up(1)
    assert made.used_up([trial(1200, gpus=2)]) == gpu_hours_too_few(1, 1 / 3, 2 / 3)


def test_gpu_hours_of_a_killed_run_are_estimated() -> None:
    """Its last trial was ended by the next run; no GPU was held in between."""
    killed = trial(1e6, state=TrialState.VOID, phases={}, gpus=1)
    assert budget(gpu_hours=1).used_up([trial(600, gpus=1), killed]) == ""


def test_gpu_hours_of_a_running_trial_include_its_rest() -> None:
    made = SearchClock()
    made.began(1)
    running = trial(0, 1, state=TrialState.RUNNING, phases={}, gpus=4)
    assert Budget(SearchSpec(gpu_hours=1), made).used_up([trial(300, gpus=4), running]) == ""
    assert Budget(SearchSpec(gpu_hours=0.9), made).used_up([trial(300, gpus=4), running]) == gpu_hours_too_few(
        0.9, 0.9 - 2400 / 3600, 1200 / 3600
    )


def test_confirmations_are_not_charged() -> None:
    assert budget(gpu_hours=1).used_up([trial(7200, gpus=1, role=TrialRole.CONFIRM)]) == ""


def test_search_time_from_stored_trials() -> None:
    side_by_side = [trial(60), trial(40), trial(20, started_at=100.0, finished_at=120.0)]
    left_open = trial(0, state=TrialState.VOID, started_at=130.0, finished_at=99999.0)
    assert searched_s([*side_by_side, left_open]) == 80


def test_budget_checks_of_a_plan(loop: Any) -> None:
    spec = loop.spec(time_s=1000.0, parallel=2)
    each = estimate_s(loop.spec(), 1, 0)
    fits = 1 + 2 * int((1000 - each) / each)
    (check,) = budget_checks(spec, 100, 0)
    assert (check.name, check.status) == ("search.time", CheckStatus.OK)
    assert f" {fits} of 100 " in check.detail
    (check,) = budget_checks(loop.spec(time_s=each * 1.5), 100, 0)
    assert check.status is CheckStatus.WARN
    assert estimate_s(spec, 1000, 0) == 1000
    (check,) = budget_checks(loop.spec(gpu_hours=1.0), 5, 8)
    assert check.name == "search.gpu_hours"


def test_estimate_with_extended_windows(loop: Any) -> None:
    spec = loop.spec()
    more_s = spec.workload.longest_s - spec.workload.duration_s
    assert more_s > 0
    assert estimate_s(spec, 4, 3, extended=True) == pytest.approx(estimate_s(spec, 4, 3) + 7 * more_s)
    short = spec.replaced(workload=spec.workload.replaced(max_duration_s=0.1))
    assert estimate_s(short, 4, 3, extended=True) == estimate_s(short, 4, 3)


@pytest.mark.anyio
async def test_plan_has_both_estimates(loop: Any) -> None:
    spec = loop.spec(repeats=1)
    plan = await make_plan(loop.prepared(spec), preflight=False)
    assert plan.estimated_s == estimate_s(spec, plan.trials, plan.repeats)
    assert plan.longest_s == estimate_s(spec, plan.trials, plan.repeats, extended=True)


@pytest.mark.anyio
async def test_the_quality_check_takes_time(loop: Any) -> None:
    tasks = TasksSpec(names=("t",), time_limit_s=100.0)
    spec = loop.spec(repeats=1, racing="auto").replaced(quality=QualitySpec(time_limit_s=10.0, tasks=tasks))
    unchecked = await make_plan(loop.prepared(spec.replaced(quality=None)), preflight=False)
    plan = await make_plan(loop.prepared(spec), preflight=False)
    others = plan.trials - 1
    assert plan.estimated_s == pytest.approx(unchecked.estimated_s + 130 + others * 110)
    assert plan.longest_s == pytest.approx(unchecked.longest_s + 130 + others * 110)
    assert plan.earliest_s == unchecked.earliest_s, "what the check takes at least is not known"
    asked = QualityResult(state=QualityState.REFERENCE, seconds=6.0, once_s=2.0, tasks_s=20.0)
    resumed = Standing(state="resumes", stored=1, check=measured(asked))
    plan = await make_plan(loop.prepared(spec), preflight=False, standing=resumed)
    assert plan.estimated_s == pytest.approx(unchecked.estimated_s + 26 + others * 22)
    assert plan.earliest_s == pytest.approx(unchecked.earliest_s + 26), "what is cut is not checked"
    assert measured(None) is None


@pytest.mark.anyio
async def test_plan_warns_about_parallel_trials(loop: Any) -> None:
    alone, beside, unproven = [
        [c for c in (await make_plan(loop.prepared(spec))).checks if c.name == "search.parallel"]
        for spec in (loop.spec(repeats=2), loop.spec(repeats=2, parallel=2), loop.spec(parallel=2))
    ]
    assert alone == []
    assert beside[0].status is unproven[0].status is CheckStatus.WARN
    assert "proof" in beside[0].detail
    assert "confirm.repeats" in unproven[0].detail
