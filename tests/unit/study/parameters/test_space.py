"""Spaces and domains: consistency of sizes, grids, membership and samples."""

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autotuner.study.configuration import Configuration
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, FloatRange, IntRange, Parameter
from autotuner.study.parameters.space import Space

values = st.booleans() | st.none() | st.integers(-5, 5) | st.sampled_from([0.5, 1.0, "1", "on"])
choices = st.lists(values, min_size=1, max_size=4, unique_by=lambda v: (type(v), v)).map(
    lambda v: Choices(values=tuple(v))
)


@st.composite
def whole(draw: st.DrawFn) -> IntRange:
    low = draw(st.integers(1, 50))
    width = draw(st.integers(0, 60))
    log = draw(st.booleans())
    return IntRange(low=low, high=low + width, step=1 if log else draw(st.integers(1, 9)), log=log)


@st.composite
def real(draw: st.DrawFn) -> FloatRange:
    low = draw(st.floats(0.01, 50))
    width = draw(st.floats(0.01, 50))
    step = draw(st.none() | st.sampled_from([0.05, 0.1, 0.25, 1.0]))
    return FloatRange(low=low, high=low + width, step=step, log=step is None and draw(st.booleans()))


@st.composite
def spaces(draw: st.DrawFn, domains: st.SearchStrategy[Any]) -> Space:
    found = draw(st.lists(domains, min_size=1, max_size=3))
    return Space(parameters=tuple(Parameter(name=f"p{i}", domain=d) for i, d in enumerate(found)))


@given(spaces(choices | whole()))
def test_the_grid_has_the_size_and_distinct_members(space: Space) -> None:
    assert space.size is not None
    if space.size > 2000:
        return
    grid = list(space.grid())
    assert len(grid) == space.size == len(set(grid))
    assert all(space.contains(c) for c in grid)


@given(spaces(choices | whole() | real()), st.integers(0, 999))
def test_samples_are_members_and_reproducible(space: Space, seed: int) -> None:
    sample = space.sample(Random(seed))
    assert space.contains(sample)
    assert space.sample(Random(seed)) == sample


@given(whole())
def test_integer_ranges_are_sorted_and_bounded(domain: IntRange) -> None:
    grid = domain.grid()
    assert grid[0] == domain.low
    assert list(grid) == sorted(set(grid))  # type: ignore[type-var]
    assert all(domain.contains(v) for v in grid)
    assert not domain.contains(domain.high + 1)
    assert not domain.contains(domain.low - 1)
    assert grid[-1] == domain.high if domain.log else domain.high - grid[-1] < domain.step  # type: ignore[operator]


def test_membership_depends_on_the_type() -> None:
    domain = Choices(values=(1, True, "1"))
    assert [domain.contains(v) for v in (1, True, "1", 1.0, False, None)] == [True, True, True, False, False, False]
    assert not IntRange(low=0, high=2).contains(True)
    assert len({Configuration(values={"a": v}) for v in (1, True, 1.0, "1")}) == 4


def test_a_stepped_range_has_round_values() -> None:
    assert list(FloatRange(low=0.7, high=0.9, step=0.05).grid() or ()) == [0.7, 0.75, 0.8, 0.85, 0.9]


def test_constraints_filter_the_grid_and_unknown_names_do_not() -> None:
    parameters = tuple(Parameter(name=n, domain=Choices(values=(1, 2, 4))) for n in ("tp-size", "pp-size"))
    limits = (Constraint.parse("tp_size * pp_size <= gpus"), Constraint.parse("nowhere > 1"))
    space = Space(parameters=parameters, constraints=limits, known={"gpus": 4})
    grid = [(c.values["tp-size"], c.values["pp-size"]) for c in space.grid()]
    assert grid == [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (4, 1)]
    assert space.size == 9
    assert space.known is not None
    assert space.allows(Configuration(values={"tp-size": 4, "pp-size": None}))


def test_a_constraint_can_compare_with_null() -> None:
    parameters = tuple(Parameter(name=n, domain=Choices(values=(None, 1))) for n in ("a", "b"))
    space = Space(parameters=parameters, constraints=(Constraint.parse("a == null implies b == null"),))
    assert [tuple(c.values.values()) for c in space.grid()] == [(None, None), (1, None), (1, 1)]


def test_a_parameter_that_is_left_out_equals_null_and_its_default() -> None:
    parameter = Parameter(name="kv-cache-dtype", domain=Choices(values=(None, "auto", "fp8")))
    for text, expected in (
        ("kv-cache-dtype == null", [None]),
        ("kv-cache-dtype == 'auto'", [None, "auto"]),
        ("kv-cache-dtype != null", ["auto", "fp8"]),
        ("kv-cache-dtype == null implies 1 > 2", ["auto", "fp8"]),
    ):
        space = Space(parameters=(parameter,), constraints=(Constraint.parse(text),), known={"kv-cache-dtype": "auto"})
        assert [c.values["kv-cache-dtype"] for c in space.grid()] == expected
