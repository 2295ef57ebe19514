"""Which repeat comes next: interleaved, counterbalanced, complete, and the same after a resume."""

from typing import Any

from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.tuning.confirmation import candidate, next_repeat

OBJECTIVES = (Objective(metric="output_throughput", direction=Direction.MAX),)


def trial(number: int, value: float | None, **changes: Any) -> Trial:
    feasible = value is not None
    fields: dict[str, Any] = {
        "study": "s",
        "number": number,
        "role": TrialRole.DEFAULT if number == 0 else TrialRole.SEARCH,
        "configuration": DEFAULT if number == 0 else Configuration(values={"threads": number}),
        "state": TrialState.DONE,
        "verdict": Verdict(feasible=feasible, objectives=(value,), total_violation=0.0 if feasible else 1.0),
    }
    return Trial(**{**fields, **changes})


def repeat(number: int, of: int, value: float | None) -> Trial:
    return trial(number, value, role=TrialRole.CONFIRM, repeat_of=of)


def played(trials: list[Trial], repeats: int, values: dict[int, float | None]) -> list[int]:
    """The order of repeats until the proof is complete."""
    order = []
    while (found := next_repeat(trials, OBJECTIVES, repeats)) is not None:
        order.append(found.of.number)
        trials = [*trials, repeat(len(trials), found.of.number, values[found.of.number])]
        assert len(order) < 50
    return order


def test_default_and_winner_alternate_in_counterbalanced_pairs() -> None:
    order = played([trial(0, 100.0), trial(1, 150.0), trial(2, 120.0)], 3, {0: 100.0, 1: 150.0})
    assert order == [0, 1, 1, 0, 0, 1]


def test_a_default_that_wins_needs_no_proof() -> None:
    assert played([trial(0, 100.0), trial(1, 90.0)], 3, {}) == []


def test_a_default_that_failed_leaves_the_winner_to_be_repeated() -> None:
    failure = Failure(cause=FailureCause.OUT_OF_MEMORY, message="no memory")
    failed = trial(0, None, state=TrialState.FAILED, verdict=None, failure=failure)
    assert played([failed, trial(1, 10.0)], 3, {1: 10.0}) == [1, 1, 1]


def test_an_infeasible_default_is_still_compared() -> None:
    assert played([trial(0, None), trial(1, 10.0)], 2, {0: None, 1: 10.0}) == [0, 1, 1, 0]


def test_a_winner_that_its_repeats_refute_gives_way_to_the_next() -> None:
    trials = [trial(0, 100.0), trial(1, 150.0), trial(2, 120.0)]
    order = played(trials, 3, {0: 100.0, 1: None, 2: 120.0})
    assert order[:2] == [0, 1]
    assert order.count(2) == 3
    assert order.count(1) == 2, "two infeasible repeats of three refute it; the third would be wasted"
    after = [*trials, repeat(3, 1, None), repeat(4, 1, None)]
    found = candidate(after, OBJECTIVES)
    assert found is not None
    assert found.number == 2


def test_a_resumed_proof_goes_on_where_it_was() -> None:
    trials = [trial(0, 100.0), trial(1, 150.0), repeat(2, 0, 101.0), repeat(3, 1, 149.0), repeat(4, 1, 151.0)]
    assert played(trials, 3, {0: 100.0, 1: 150.0}) == [0, 0, 1]


def test_void_repeats_do_not_count() -> None:
    void = repeat(2, 0, 100.0).model_copy(update={"state": TrialState.VOID, "verdict": None})
    assert played([trial(0, 100.0), trial(1, 150.0), void], 1, {0: 100.0, 1: 150.0}) == [0, 1]


def test_client_limited_trials_do_not_win() -> None:
    limited = trial(1, 500.0)
    limited = limited.model_copy(update={"verdict": Verdict(feasible=True, objectives=(500.0,), rankable=False)})
    found = candidate([trial(0, 100.0), limited, trial(2, 120.0)], OBJECTIVES)
    assert found is not None
    assert found.number == 2
