"""Numbered points, seeded permutations, grid search and random search."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.errors import UsageError
from autotuner.plugins.search import Stop
from autotuner.search.grid import GridSearch, GridSettings
from autotuner.search.points import Axis, Points, permutation
from autotuner.search.proposals import MAX_REJECTED, Proposals
from autotuner.search.random import RandomSearch, RandomSettings
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import Choices, Domain, FloatRange, IntRange, Parameter
from autotuner.testing.search_kit import context_of, run, small_space, space_of


@given(st.integers(1, 3000), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_permutation_has_every_number_once(size: int, seed: int) -> None:
    assert sorted(permutation(size, seed)) == list(range(size))


def test_permutations_differ_by_seed_and_look_random() -> None:
    orders = [tuple(permutation(40, seed)) for seed in range(50)]
    assert len(set(orders)) == 50
    firsts = [next(permutation(10, seed)) for seed in range(3000)]
    assert all(220 <= firsts.count(n) <= 380 for n in range(10))


def test_permutation_of_a_trillion_is_lazy() -> None:
    assert len(set(islice(permutation(10**12, 1), 1000))) == 1000


def test_points_in_order_are_the_grid_of_the_space() -> None:
    space = space_of(a=[1, 2], b=FloatRange(low=0, high=1, step=0.25), c=IntRange(low=1, high=100, log=True))
    assert [c.key for c in Points(space).in_order()] == [c.key for c in space.grid()]


@pytest.mark.parametrize(
    "domain",
    [
        Choices(values=(True, 1, "1", None, 1.5)),
        IntRange(low=3, high=17, step=4),
        IntRange(low=3, high=100, log=True),
        FloatRange(low=0.5, high=0.95, step=0.05),
        FloatRange(low=-1, high=1, step=0.3),
    ],
)
def test_position_is_the_inverse_of_the_values(domain: Domain) -> None:
    axis = Axis(Parameter(name="a", domain=domain))
    assert axis.values is not None
    assert list(axis.values) == list(domain.grid() or ())
    assert [axis.position(v) for v in axis.values] == list(range(len(axis.values)))
    assert axis.position("nothing of this") is None
    assert axis.position(99.75) is None
    assert {type(axis.draw(Random(n))) for n in range(50)} == {type(v) for v in axis.values}


def test_true_is_not_one() -> None:
    assert Axis(Parameter(name="a", domain=IntRange(low=0, high=3))).position(True) is None
    assert Axis(Parameter(name="a", domain=Choices(values=(1, 2)))).position(True) is None


def test_complete_grid_is_in_the_order_of_the_parameters() -> None:
    trials, stop = run(GridSearch(GridSettings(), context_of(small_space(), trials=21)))
    assert isinstance(stop, Stop)
    assert [t.configuration.key for t in trials] == [c.key for c in small_space().grid()]


def test_truncated_grid_is_an_unbiased_sample() -> None:
    firsts = []
    for seed in range(60):
        search = GridSearch(GridSettings(), context_of(small_space(), trials=20, seed=seed))
        asked = search.ask([])
        assert isinstance(asked, Configuration)
        firsts.append(asked.values["threads"])
    assert {1, 2, 8} == set(firsts)


def test_complete_grid_does_not_repeat_the_default() -> None:
    default = next(small_space().grid())
    trials, _ = run(GridSearch(GridSettings(), context_of(small_space(), trials=20, default=default)))
    assert [t.configuration.key for t in trials] == [c.key for c in small_space().grid()][1:]


def test_grid_over_a_continuous_range_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        GridSearch(GridSettings(), context_of(space_of(a=[1], share=FloatRange(low=0, high=1))))
    (problem,) = caught.value.problems
    assert problem.where == "parameters.share"
    assert problem.remedy == "give it a step, or use search.strategy: random or bayesian"


def test_random_search_never_exhausts_a_continuous_range() -> None:
    space = space_of(share=FloatRange(low=1e-3, high=1, log=True))
    trials, stop = run(RandomSearch(RandomSettings(), context_of(space)), most=50)
    assert stop is None
    small = sum(float(str(t.configuration.values["share"])) < 0.0316 for t in trials)
    assert 10 <= small <= 40


def test_search_gives_up_after_many_rejected_candidates() -> None:
    context = context_of(space_of(a=IntRange(low=0, high=10**12)), valid=lambda _: False)
    stream = (Configuration(values={"a": n}) for n in range(2 * MAX_REJECTED))
    found = Proposals(context, stream).first_unused(frozenset())
    assert found == Stop(f"no allowed configuration among {MAX_REJECTED} candidates in a row; loosen the constraints")
