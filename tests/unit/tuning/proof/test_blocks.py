"""Order of the proof's launches: interleaved, counterbalanced, bounded, and unchanged by a resume."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.tuning.proof import noise
from autotuner.tuning.proof.blocks import most_launches, next_repeat
from autotuner.tuning.proof.decision import contenders
from autotuner.tuning.proof.records import launches

OBJECTIVES = (Objective(metric="output_throughput", direction=Direction.MAX),)
CRASH = Failure(cause=FailureCause.CRASH_UNDER_LOAD, message="it ended")


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


def repeat(number: int, of: int, value: float | None, block: int | None = None) -> Trial:
    return trial(number, value, role=TrialRole.CONFIRM, repeat_of=of, block=block)


def crashed(number: int, of: int) -> Trial:
    return trial(
        number, None, role=TrialRole.CONFIRM, repeat_of=of, state=TrialState.FAILED, verdict=None, failure=CRASH
    )


def launch_order(
    trials: list[Trial], repeats: int, values: Callable[[int, int], float | None], *, most: int = 3
) -> list[int]:
    """Numbers of the launched trials until the proof is complete; ``values``: (number, n) to the n-th value."""
    order: list[int] = []
    confirm = ConfirmSpec(repeats=repeats, challengers=most)
    while (found := next_repeat(trials, OBJECTIVES, confirm)) is not None:
        number = found.trial.number
        order.append(number)
        made = repeat(len(trials), number, values(number, order.count(number)), block=found.block)
        trials = [*trials, made]
        assert len(order) <= most_launches(confirm)
    return order


def steady(**values: float) -> Callable[[int, int], float]:
    """Values by trial (``t1=...``) that vary by 1% between launches."""
    return lambda number, nth: values[f"t{number}"] * (1 + 0.01 * (-1) ** nth)


def test_default_and_challenger_alternate_in_counterbalanced_pairs() -> None:
    assert launch_order([trial(0, 100.0), trial(1, 150.0)], 3, steady(t0=100, t1=150)) == [0, 1, 1, 0, 0, 1]


def test_challengers_are_counterbalanced_between_launches_of_the_default() -> None:
    trials = [trial(0, 100.0), trial(1, 150.0), trial(2, 151.0), trial(3, 149.0)]
    order = launch_order(trials, 3, lambda n, nth: (100 if n == 0 else 150) * (1 + 0.02 * (-1) ** nth))
    assert order == [0, 2, 1, 3, 3, 1, 2, 0, 0, 2, 1, 3]


def test_default_that_ranks_first_and_its_challengers_are_repeated() -> None:
    order = launch_order([trial(0, 200.0), trial(1, 150.0)], 3, steady(t0=100, t1=150))
    assert Counter(order) == {0: 3, 1: 3}


def test_lucky_first_measurement_does_not_hide_a_better_trial() -> None:
    """Trial 1 was lucky once; trial 2 is better, but far behind by first measurements."""
    trials = [trial(0, 100.0), trial(1, 300.0), trial(2, 150.0)]
    order = launch_order(trials, 3, steady(t0=100, t1=90, t2=150))
    assert order.count(2) == 3


def test_challengers_that_are_clearly_worse_are_dropped() -> None:
    trials = [trial(0, 100.0), trial(1, 150.0), trial(2, 120.0), trial(3, 110.0)]
    order = launch_order(trials, 3, steady(t0=100, t1=150, t2=120, t3=110))
    assert Counter(order) == {0: 3, 1: 3, 2: 1, 3: 1}


def test_number_of_challengers_is_limited() -> None:
    trials = [trial(0, 100.0), *(trial(n, 150.0 - n) for n in range(1, 9))]
    assert set(launch_order(trials, 2, lambda n, nth: 140.0 * (1 + 0.02 * (-1) ** nth), most=2)) == {0, 1, 2}


def test_only_challengers_are_repeated_if_the_default_failed() -> None:
    failure = Failure(cause=FailureCause.OUT_OF_MEMORY, message="no memory")
    failed = trial(0, None, state=TrialState.FAILED, verdict=None, failure=failure)
    assert launch_order([failed, trial(1, 10.0)], 3, steady(t1=10)) == [1, 1, 1]


def test_default_that_ran_at_its_second_launch() -> None:
    failed = trial(0, None, state=TrialState.FAILED, verdict=None, failure=CRASH)
    again = trial(1, 10.0, role=TrialRole.DEFAULT, configuration=DEFAULT)
    assert launch_order([failed, again, trial(2, 12.0)], 2, steady(t1=10, t2=12)) == [1, 2, 2, 1]


def test_infeasible_default_is_still_repeated() -> None:
    assert launch_order([trial(0, None), trial(1, 10.0)], 2, lambda n, _: 10.0 if n else None) == [0, 1, 1, 0]


def test_no_repeats_without_a_challenger() -> None:
    assert launch_order([trial(0, 100.0), trial(1, None)], 3, steady()) == []


def test_refuted_challenger_is_replaced_by_the_next_one() -> None:
    trials = [trial(0, 100.0), trial(1, 150.0), trial(2, 120.0)]
    order = launch_order(trials, 3, lambda n, nth: None if n == 1 and nth == 2 else 100.0 + 20 * n + nth, most=1)
    assert order.count(1) == 2, "its third launch would be wasted"
    assert order.count(2) == 2, "within the announced launches"
    late = order[order.index(2) :]
    assert 0 in late, "the replacement is interleaved with the default"
    assert [t.number for t in contenders([*trials, crashed(3, 1)], OBJECTIVES, ConfirmSpec(repeats=3))] == [2]


def test_resumed_proof_continues_the_order() -> None:
    trials = [trial(0, 100.0), trial(1, 150.0), repeat(2, 0, 101.0), repeat(3, 1, 149.0), repeat(4, 1, 151.0)]
    assert launch_order(trials, 3, steady(t0=100, t1=150)) == [0, 0, 1]


def test_void_repeats_do_not_count() -> None:
    void = repeat(2, 0, 100.0).model_copy(update={"state": TrialState.VOID, "verdict": None})
    assert launch_order([trial(0, 100.0), trial(1, 150.0), void], 1, steady(t0=100, t1=150)) == [0, 1]


def limited(number: int, value: float, **changes: Any) -> Trial:
    """A feasible trial that must not be ranked."""
    return trial(number, value, verdict=Verdict(feasible=True, objectives=(value,), rankable=False), **changes)


def test_client_limited_trials_are_not_challengers() -> None:
    assert [
        t.number
        for t in contenders([trial(0, 100.0), limited(1, 500.0), trial(2, 120.0)], OBJECTIVES, ConfirmSpec(repeats=3))
    ] == [2]


def test_trials_that_could_not_be_ranked_side_by_side_are_repeated_alone() -> None:
    crowd = {"started_at": 10.0, "finished_at": 20.0}
    trials = [trial(0, 100.0), limited(1, 50.0, **crowd), trial(2, 40.0, **crowd)]
    assert [t.number for t in contenders(trials, OBJECTIVES, ConfirmSpec(repeats=3))] == [2, 1], (
        "ranked trials come first"
    )


def test_trials_that_ran_side_by_side_are_compared_with_the_default_alone() -> None:
    """Side by side both were slower than the default; alone they are 50% faster than it."""
    crowd = {"started_at": 10.0, "finished_at": 20.0}
    trials = [trial(0, 160.0, started_at=0.0, finished_at=9.0), *(trial(n, 60.0, **crowd) for n in (1, 2))]
    order = launch_order(trials, 3, steady(t0=160, t1=240, t2=240))
    assert Counter(order) == {0: 3, 1: 3, 2: 3}


def test_interference_between_trials_side_by_side() -> None:
    crowd = {"started_at": 10.0, "finished_at": 20.0}
    slow = [trial(0, 160.0), trial(1, 60.0, **crowd), trial(2, 60.0, **crowd), repeat(3, 1, 240.0), repeat(4, 2, 238.0)]
    share = noise.interference(slow, OBJECTIVES)
    assert share == pytest.approx(0.75, abs=0.01)
    assert " 75% " in noise.interference_text(share)
    same = [trial(0, 160.0), trial(1, 237.0, **crowd), trial(2, 241.0, **crowd), *slow[3:]]
    assert noise.interference(same, OBJECTIVES) is None
    alone = [t.model_copy(update={"started_at": None}) for t in slow]
    assert noise.interference(alone, OBJECTIVES) is None, "no trial ran beside them, so it was chance"


def test_outcomes_of_launches() -> None:
    lost = limited(4, 9.0, role=TrialRole.CONFIRM, repeat_of=1)
    trials = [trial(0, 1.0), trial(1, 9.0), repeat(2, 1, None), crashed(3, 1), lost, repeat(5, 1, 9.0)]
    found = launches(trials[1], trials)
    assert (found.total, found.died, found.missed, found.unranked, found.held) == (5, 1, 1, 1, False)


@pytest.mark.parametrize("seed", range(20))
def test_proof_ends_within_the_announced_launches(seed: int) -> None:
    source = Random(seed)
    trials = [trial(0, 100.0), *(trial(n, source.uniform(80, 160)) for n in range(1, 8))]
    order = launch_order(trials, 3, lambda n, _: None if source.random() < 0.2 else 100 * source.gauss(1, 0.1))
    assert len(order) <= most_launches(ConfirmSpec(repeats=3))


def test_first_measurements_side_by_side_are_not_noise() -> None:
    """Side by side both were half as fast; alone their repeats differ by 1%."""
    together = [trial(n, 75.0, started_at=10.0, finished_at=20.0) for n in (1, 2)]
    trials = [trial(0, 100.0, started_at=0.0, finished_at=9.0), *together, repeat(3, 1, 150.0), repeat(4, 1, 151.5)]
    sd, freedom = noise.measured_noise(trials, OBJECTIVES)
    assert freedom == 1
    assert sd < 0.01
