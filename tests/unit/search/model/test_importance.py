"""Which parameters the objective and the feasibility depend on, found from the trials of spaces where it is known."""

import math

import numpy as np
import pytest

from autotuner.plugins.search import SearchContext
from autotuner.search.model.importance import FEWEST, importance
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import FloatRange
from autotuner.study.parameters.space import Space
from autotuner.study.search.importance import ParameterImportance
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.search_kit import conditional_space, context_of, made, space_of

SPACE = space_of(batch=[1, 2, 4, 8, 16], kernel=["a", "b", "c"], idle=[1, 2, 3], memory=FloatRange(low=0.5, high=0.9))


def trial(number: int, configuration: Configuration) -> Trial:
    """Speed depends on ``batch`` and, less, on ``kernel``; whether it starts on ``memory`` alone."""
    values: dict[str, Value] = dict(configuration.values)
    batch = values["batch"]
    memory = values["memory"]
    assert isinstance(batch, int)
    assert isinstance(memory, float)
    if memory > 0.7:
        return made(number, configuration, state=TrialState.FAILED)
    return made(number, configuration, objectives=(batch * {"a": 1.0, "b": 1.3, "c": 0.8}[str(values["kernel"])],))


def sampled(space: Space, count: int) -> list[Configuration]:
    random = np.random.default_rng(5)
    found = []
    for _ in range(count):
        values: dict[str, Value] = {}
        for parameter in space.parameters:
            grid = parameter.domain.grid()
            drawn = float(random.uniform(0.5, 0.9)) if grid is None else grid[int(random.integers(len(grid)))]
            values[parameter.name] = drawn
        found.append(space.pruned(values))
    return found


def by_name(found: tuple[ParameterImportance, ...]) -> dict[str, ParameterImportance]:
    return {p.parameter: p for p in found}


def test_speed_and_feasibility_have_different_causes() -> None:
    context: SearchContext = context_of(SPACE)
    trials = [trial(i, c) for i, c in enumerate(sampled(SPACE, 40))]
    ordered = importance(context, trials)
    assert [p.parameter for p in ordered[:2]] == ["batch", "kernel"]
    found = by_name(ordered)
    assert found["batch"].objective.alone > 0.7
    assert found["kernel"].objective.alone > 0.01
    assert found["idle"].objective.total < 0.05
    assert found["memory"].feasible.alone > 0.5
    assert max(found[n].feasible.total for n in ("batch", "kernel", "idle")) < found["memory"].feasible.alone / 3


def test_an_interaction_counts_in_the_total_share_only() -> None:
    space = space_of(a=["x", "y"], b=["x", "y"], c=["x", "y", "z"])
    points = list(space.grid()) * 2
    trials = [made(i, p, objectives=(math.exp(p.values["a"] == p.values["b"]),)) for i, p in enumerate(points)]
    found = by_name(importance(context_of(space), trials))
    for name in "ab":
        assert found[name].objective.alone < 0.15
        assert found[name].objective.total > 0.6
    assert found["c"].objective.total < 0.1


def test_shares_of_a_space_with_conditional_parameters_and_of_listed_points() -> None:
    space = conditional_space([1, 3, 5])
    points = list(space.grid())
    trials = [made(i, p, objectives=(4.0 if p.values["algorithm"] == "EAGLE" else 1.0,)) for i, p in enumerate(points)]
    found = by_name(importance(context_of(space), trials))
    assert max(found, key=lambda n: found[n].objective.total) == "algorithm"
    listed = Space(
        parameters=SPACE.parameters[:2], combinations=tuple({"batch": b, "kernel": k} for b, k in ((1, "a"), (4, "b")))
    )
    trials = [made(i, p, objectives=(float(i + 1),)) for i, p in enumerate(listed.grid())]
    assert importance(context_of(listed), trials) == (), "too few"


@pytest.mark.parametrize("count", [0, FEWEST - 1])
def test_too_few_trials_say_nothing(count: int) -> None:
    trials = [made(i, c) for i, c in enumerate(list(space_of(p=[1, 2, 3, 4, 5]).grid())[:count])]
    assert importance(context_of(space_of(p=[1, 2, 3, 4, 5])), trials) == ()


def test_what_does_not_vary_has_no_causes() -> None:
    space = space_of(p=[1, 2, 3, 4, 5], q=["a", "b"])
    trials = [made(i, c, objectives=(7.0,)) for i, c in enumerate(space.grid())]
    found = importance(context_of(space), trials)
    assert [s.total for p in found for s in (p.objective, p.feasible)] == [0, 0, 0, 0]
