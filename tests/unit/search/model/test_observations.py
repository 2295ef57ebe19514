"""Which windows are read, and which are kept if there are more than a model can take."""

import math

from autotuner.search.model.observations import Windows, _capped, _priority, verdict_quantities
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.testing.search_kit import context_of, space_of

LEVELS = 8


def trial(number: int, verdict: Verdict) -> Trial:
    made = Trial(study="s", number=number, role=TrialRole.SEARCH, configuration=Configuration(values={"p": number}))
    return made.replaced(state=TrialState.DONE, verdict=verdict)


def levels_kept(trials: list[Trial], *directions: Direction) -> dict[int, int]:
    rows = [(i, level, 0.0, 0.1, i, False) for i in range(len(trials)) for level in range(LEVELS)]
    kept = _capped(rows, _priority(trials, directions))
    assert len(kept) <= 500
    assert kept == [r for r in rows if r in kept], "in the order of the launches"
    return {i: sum(r[4] == i for r in kept) for i in range(len(trials))}


def test_the_best_feasible_trials_keep_all_their_levels() -> None:
    good = {60: 9.0, 61: 8.0}
    trials = [trial(i, Verdict(feasible=True, objectives=(good.get(i, 1.0),))) for i in range(150)]
    kept = levels_kept(trials, Direction.MAX)
    assert kept[60] == kept[61] == kept[149] == LEVELS
    assert kept[62] <= 2
    trials = [
        trial(i, Verdict(feasible=i > 59, total_violation=float(i < 60), objectives=(1.0 + i,))) for i in range(150)
    ]
    assert levels_kept(trials, Direction.MIN)[60] == LEVELS
    assert levels_kept(trials, Direction.MIN)[0] <= 2


def test_the_best_of_each_objective_is_kept_and_what_must_not_be_ranked_is_not_good() -> None:
    extremes = {50: (9.0, 9.0), 51: (1.0, 0.5), 52: (99.0, 0.1)}
    trials = [
        trial(i, Verdict(feasible=True, objectives=extremes.get(i, (2.0, 2.0)), rankable=i != 52)) for i in range(150)
    ]
    kept = levels_kept(trials, Direction.MAX, Direction.MIN)
    assert kept[50] == kept[51] == LEVELS
    assert kept[52] <= 2


def test_a_trial_is_read_once_and_again_if_it_has_changed() -> None:
    windows = Windows(context_of(space_of(p=[1, 2])))
    objective = verdict_quantities(1)[0]
    first = trial(0, Verdict(feasible=True, objectives=(math.e,)))
    found = windows.of(objective, first, ())
    assert [value for _, value, _, _ in found] == [1.0]
    assert windows.of(objective, first, ()) is found
    scored_again = first.replaced(verdict=Verdict(feasible=True, objectives=(math.e**2,)))
    assert [value for _, value, _, _ in windows.of(objective, scored_again, ())] == [2.0]
