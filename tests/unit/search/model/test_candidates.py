"""Which untried configurations are compared beside the sample of a large space."""

from itertools import islice

import pytest

from autotuner.search.model.candidates import Candidates, _others
from autotuner.search.points import Points
from autotuner.search.proposals import shuffled
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import Domain, FloatRange, IntRange
from autotuner.study.parameters.space import Space
from autotuner.testing.search_kit import conditional_space, context_of, space_of


def candidates(space: Space, *taken: Configuration) -> Candidates:
    context = context_of(space)
    return Candidates(context, shuffled(context), frozenset(map(context.identity, taken)))


@pytest.mark.parametrize(
    ("domain", "value", "others"),
    [
        (["a", "b", "c"], "b", ["a", "c"]),
        (IntRange(low=1, high=4), 2, [1, 3, 4]),
        (IntRange(low=1, high=100), 50, [49, 51, 46, 54, 34, 66]),  # neighbors, then ever farther ones on both sides
        (IntRange(low=1, high=100), 1, [2, 5, 17, 65]),
        (["a", "b"], "z", []),  # a default that is not listed
        (FloatRange(low=0, high=1), "auto", []),
    ],
)
def test_other_values_of_one_parameter(domain: Domain | list[Value], value: Value, others: list[Value]) -> None:
    axis = Points(space_of(p=domain)).axes[0]
    assert list(_others(axis, value)) == others


def test_steps_in_a_continuous_range_shrink_and_stay_inside() -> None:
    axis = Points(space_of(p=FloatRange(low=0.2, high=1.0))).axes[0]
    found = [v for v in _others(axis, 0.4) if isinstance(v, float)]
    assert found[:2] == pytest.approx([0.34, 0.58])
    assert found[-2:] == pytest.approx([0.3994, 0.4018])
    assert len(found) == 10
    assert all(0.2 <= v <= 1.0 for v in found)


def test_a_small_space_is_listed_and_has_no_more_candidates() -> None:
    space = space_of(a=[1, 2, 3], b=["x", "y"])
    tried = Configuration(values={"a": 1, "b": "x"})
    found = candidates(space, tried)
    assert found.complete
    assert len(found.listed) == 5
    assert found.around([tried]) == []


def test_neighbors_differ_in_one_parameter_and_are_allowed_new_and_complete() -> None:
    """Also where a parameter becomes active or inactive with the one that differs."""
    space = conditional_space(list(range(1000)))
    good = Configuration(values={"algorithm": "EAGLE", "steps": 500, "topk": 4, "tp": 1})
    taken = Configuration(values={"algorithm": "EAGLE", "steps": 500, "topk": 1, "tp": 1})
    found = candidates(space, taken)
    assert not found.complete
    neighbors = found.around([good])
    assert {c.key for c in neighbors}.isdisjoint(c.key for c in [good, taken, *found.listed])
    assert all(space.contains(c) for c in neighbors)
    compared = [c.values for c in [*neighbors, *found.listed]]
    assert {"algorithm": "none", "tp": 1} in compared
    assert {"algorithm": "NGRAM", "steps": 500, "tp": 1} in compared
    assert {**good.values, "tp": 2} in compared
    assert {**good.values, "steps": 501} in compared
    back = candidates(space).around([Configuration(values={"algorithm": "none", "tp": 2})])
    assert {c.values["steps"] for c in back if "steps" in c.values} <= {0}, "the first value of a parameter"


def test_a_default_outside_of_the_space_has_no_neighbors() -> None:
    names = [f"p{n}" for n in range(6)]
    found = candidates(space_of(**{n: list(range(10)) for n in names}))
    assert found.around([Configuration(values={"p0": 3})]) == []


def test_neighbors_are_limited() -> None:
    names = [f"p{n}" for n in range(12)]
    space = space_of(**{n: list(range(10)) for n in names})
    found = candidates(space)
    good = list(islice(space.grid(), 12))
    assert len(found.around(good)) == 400
    assert 90 < len(found.around(good[:1])) <= 12 * 9
