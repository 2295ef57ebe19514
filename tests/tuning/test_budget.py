"""Budgets are counted over stored trials."""

from typing import Any

from autotuner.study.configuration import DEFAULT
from autotuner.study.spec import SearchSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.budget import Budget


def trial(seconds: float, **changes: Any) -> Trial:
    made = Trial(study="s", number=0, role=TrialRole.SEARCH, configuration=DEFAULT, state=TrialState.DONE)
    return made.model_copy(update={"started_at": 10.0, "finished_at": 10.0 + seconds, **changes})


def test_no_limit_is_never_used_up() -> None:
    assert Budget(SearchSpec()).used_up([trial(1e9)]) == ""


def test_time_is_summed_over_trials_and_shared_by_slots() -> None:
    assert Budget(SearchSpec(time_s=100)).used_up([trial(60), trial(30)]) == ""
    assert "time budget of 100 s" in Budget(SearchSpec(time_s=100)).used_up([trial(60), trial(40)])
    assert Budget(SearchSpec(time_s=100, parallel=2)).used_up([trial(60), trial(40)]) == ""


def test_gpu_hours_count_only_trials_with_gpus() -> None:
    budget = Budget(SearchSpec(gpu_hours=1))
    assert budget.used_up([trial(7200)]) == ""
    assert "1 GPU hours" in budget.used_up([trial(1800, gpus=2)])


def test_confirmations_are_not_charged() -> None:
    assert Budget(SearchSpec(time_s=10)).used_up([trial(60, role=TrialRole.CONFIRM)]) == ""
