"""Bayesian search: how fast it finds the best configuration, what it learns from, and what Optuna gets from it."""

import subprocess
import sys
from collections.abc import Callable

import optuna
import pytest

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.search import optuna_proposals
from autotuner.search.bayesian import BayesianSearch, BayesianSettings
from autotuner.search.optuna_proposals import distributions, feasible, infeasible, propose
from autotuner.search.points import Points
from autotuner.search.random import RandomSearch, RandomSettings
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.parameters.parameter import FloatRange, IntRange
from autotuner.study.parameters.space import Space
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.testing.search_kit import context_of, made, space_of

Server = Callable[[int, Configuration], Trial]


def bayesian(context: SearchContext, startup: int = 4) -> Search:
    return BayesianSearch(BayesianSettings(startup=startup), context)


def explore(
    search: Search, server: Server, most: int, reached: Callable[[Trial], bool] = lambda _: False
) -> list[Trial]:
    """Up to ``most`` trials, the last of which has ``reached`` what is looked for."""
    trials: list[Trial] = []
    while len(trials) < most and not isinstance(proposed := search.ask(trials), Stop):
        trials.append(server(len(trials), proposed))
        search.tell(trials[-1])
        if reached(trials[-1]):
            break
    return trials


def grid() -> Space:
    """1,200 points; the second parameter matters little."""
    return space_of(batch=[2**n for n in range(12)], chunk=IntRange(low=0, high=9), mode=["a", "b", "c", "d", None])


def hill(number: int, configuration: Configuration) -> Trial:
    """Best at batch 256 and mode c; larger batches run out of memory, and mode b misses a bound."""
    batch = configuration.values["batch"]
    mode = configuration.values["mode"]
    assert isinstance(batch, int)
    if batch > 256:
        return made(number, configuration, state=TrialState.FAILED)
    return made(number, configuration, objectives=[batch + 50.0 * (mode == "c")], violation=0.3 * (mode == "b"))


def tried_until_best(search: Search, server: Server = hill) -> int:
    """Launches until the best configuration has been measured, 40 at most."""

    def best(trial: Trial) -> bool:
        return trial.verdict is not None and trial.verdict.feasible and trial.verdict.objectives == (306.0,)

    return len(explore(search, server, 40, best))


def test_needs_at_most_half_the_trials_of_random_search() -> None:
    contexts = [context_of(grid(), seed=seed, trials=40) for seed in range(5)]
    learned = sum(tried_until_best(bayesian(c)) for c in contexts)
    blind = sum(tried_until_best(RandomSearch(RandomSettings(), c)) for c in contexts)
    assert learned * 2 <= blind, (learned, blind)


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.DONE])
def test_avoids_failing_and_infeasible_regions(state: TrialState) -> None:
    """A fifth of the space is bad, which the first ten trials show."""

    def server(number: int, configuration: Configuration) -> Trial:
        batch = configuration.values["batch"]
        mode = configuration.values["mode"]
        assert isinstance(batch, int)
        bad = mode == "b"
        made_as = state if bad else TrialState.DONE
        return made(number, configuration, state=made_as, objectives=[batch], violation=0.3 * bad)

    later = [t for seed in range(4) for t in explore(bayesian(context_of(grid(), seed=seed)), server, 25)[10:]]
    assert sum(t.configuration.values["mode"] == "b" for t in later) <= len(later) // 10


def test_huge_value_of_an_infeasible_trial_does_not_attract() -> None:
    def lure(number: int, configuration: Configuration) -> Trial:
        batch = configuration.values["batch"]
        assert isinstance(batch, int)
        return made(number, configuration, objectives=[1e9 if batch > 64 else batch], violation=float(batch > 64))

    later = [t for seed in range(4) for t in explore(bayesian(context_of(grid(), seed=seed)), lure, 25)[10:]]
    assert sum(t.verdict is not None and not t.verdict.feasible for t in later) <= len(later) // 3


def test_only_the_order_of_violations_matters() -> None:
    """The proposals do not depend on the size of the violations."""

    def scaled(factor: float) -> list[str]:
        def server(number: int, configuration: Configuration) -> Trial:
            trial = hill(number, configuration)
            verdict = trial.verdict
            if verdict is None or verdict.feasible:
                return trial
            worse = verdict.model_copy(update={"total_violation": verdict.total_violation * factor})
            return trial.model_copy(update={"verdict": worse})

        return [t.configuration.key for t in explore(bayesian(context_of(grid())), server, 20)]

    assert scaled(1.0) == scaled(1e6)


def test_learns_from_a_default_inside_the_space() -> None:
    default = Configuration(values={"batch": 256, "chunk": 0, "mode": "c"})
    zero = made(0, Configuration(), role=TrialRole.DEFAULT, objectives=[306.0])
    with_default = context_of(grid(), default=default)

    def fifth(context: SearchContext) -> Configuration | Stop:
        search = bayesian(context)
        trials = [zero]
        search.tell(zero)
        for _ in range(4):
            asked = search.ask(trials)
            assert isinstance(asked, Configuration)
            trials.append(hill(len(trials), asked))
            search.tell(trials[-1])
        return search.ask(trials)

    assert fifth(with_default) != fifth(context_of(grid()))


def test_default_outside_of_the_space_is_ignored() -> None:
    search = bayesian(context_of(grid(), default=Configuration(values={"batch": 3, "chunk": 0, "mode": "c"})), 1)
    zero = made(0, Configuration(), role=TrialRole.DEFAULT)
    search.tell(zero)
    one = search.ask([zero])
    assert isinstance(one, Configuration)
    trial = hill(1, one)
    search.tell(trial)
    assert isinstance(search.ask([zero, trial]), Configuration)


def test_client_limited_trials_are_ignored() -> None:
    def limited(number: int, configuration: Configuration) -> Trial:
        trial = hill(number, configuration)
        unusable = Verdict(feasible=True, objectives=(1e9,), rankable=False)
        return trial.model_copy(update={"state": TrialState.DONE, "verdict": unusable, "failure": None})

    context = context_of(grid())
    blind = explore(RandomSearch(RandomSettings(), context), limited, 8)
    assert [t.configuration for t in explore(bayesian(context), limited, 8)] == [t.configuration for t in blind]


def cut_below_the_best() -> Server:
    """Measures a trial only if it is better than all before; of any other it tells the best value as a bound."""
    best = 0.0

    def server(number: int, configuration: Configuration) -> Trial:
        nonlocal best
        trial = hill(number, configuration)
        if trial.verdict is None or not trial.verdict.feasible:
            return trial
        value = trial.verdict.objectives[0]
        assert value is not None
        if value > best:
            best = value
            return trial
        cut = Verdict(feasible=True, objectives=(None,), bounds=(best,), cut=True, rankable=False)
        return trial.replaced(verdict=cut)

    return server


def test_trials_that_were_cut_lead_to_the_best_in_half_the_trials_of_random_search() -> None:
    contexts = [context_of(grid(), seed=seed, trials=40) for seed in range(5)]
    censored = sum(tried_until_best(bayesian(c), cut_below_the_best()) for c in contexts)
    blind = sum(tried_until_best(RandomSearch(RandomSettings(), c)) for c in contexts)
    assert censored * 2 <= blind, (censored, blind)


def test_parallel_proposals_differ() -> None:
    search = bayesian(context_of(grid()))
    trials = explore(search, hill, 8)
    for _ in range(4):
        asked = search.ask(trials, free=4)
        assert isinstance(asked, Configuration)
        trials.append(made(len(trials), asked, state=TrialState.RUNNING))
    assert len({t.configuration.key for t in trials}) == 12


def test_several_objectives_reach_both_ends_of_the_front() -> None:
    def two(number: int, configuration: Configuration) -> Trial:
        batch = configuration.values["batch"]
        assert isinstance(batch, int)
        return made(number, configuration, objectives=[100.0 * batch, 0.001 * batch])

    directions = (Direction.MAX, Direction.MIN)
    trials = explore(bayesian(context_of(grid(), directions=directions)), two, 24)
    assert {1, 2048} <= {t.configuration.values["batch"] for t in trials}


@pytest.mark.parametrize("log", [False, True])
def test_learns_a_continuous_range(log: bool) -> None:
    """The space is too large to list, so that Optuna proposes candidates too."""
    share = FloatRange(low=0.01, high=1.0, log=log)

    def near(number: int, configuration: Configuration) -> Trial:
        x = configuration.values["share"]
        assert isinstance(x, float)
        assert 0.01 <= x <= 1
        return made(number, configuration, objectives=[2 - abs(x - 0.7)])

    trials = explore(bayesian(context_of(space_of(share=share, on=[True, False]))), near, 15)
    assert max(t.verdict.objectives[0] or 0 for t in trials if t.verdict) > 1.99


def test_infeasible_trials_have_no_objective_in_optuna() -> None:
    space = distributions(Points(grid()).axes)
    bad = infeasible({"batch": 3, "chunk": 1, "mode": 0}, space, 0.7)
    assert bad.state is optuna.trial.TrialState.PRUNED
    assert bad.values is None
    assert bad.constraints == {"total_violation": 0.7}


def test_optuna_ranks_infeasible_trials_below_feasible_ones() -> None:
    """If Optuna ignored the constraint of pruned trials, most of its proposals would be near the failures."""
    space = distributions(Points(space_of(a=IntRange(low=0, high=100))).axes)
    bad = [infeasible({"a": n}, space, 0.1 + n / 100) for n in range(0, 50, 2)]
    good = [feasible({"a": n}, space, [1.0]) for n in range(90, 100)]
    found = propose(space, bad + good, (Direction.MAX,), count=20, seed=1)
    assert sum(p["a"] > 70 for p in found) >= 15
    assert found == propose(space, bad + good, (Direction.MAX,), count=20, seed=1)


def test_optuna_gets_positions_instead_of_values() -> None:
    axes = Points(space_of(odd=[True, 1, 1.0, "1"], up=[1, 2, 4], down=[4, 2, 1], mixed=[1, 4, 2], one=[7])).axes
    kinds = {name: type(d).__name__ for name, d in optuna_proposals.distributions(axes).items()}
    assert kinds == {
        "odd": "CategoricalDistribution",
        "up": "IntDistribution",
        "down": "IntDistribution",
        "mixed": "CategoricalDistribution",
    }


def test_optuna_prints_nothing() -> None:
    code = (
        "from autotuner.search.optuna_proposals import *\n"
        "from autotuner.search.points import Points\n"
        "from autotuner.testing.search_kit import space_of\n"
        "from autotuner.study.metric import Direction\n"
        "s = distributions(Points(space_of(a=[1, 2, 3])).axes)\n"
        "propose(s, [feasible({'a': 1}, s, [1.0])] * 3, (Direction.MAX,), count=2, seed=0)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""
