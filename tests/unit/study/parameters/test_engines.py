"""Several engines as one space: the same points as the engines' own spaces, one after another."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.search.points import Points
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.engines import (
    choice,
    common_known,
    own_values,
    qualified,
    qualified_constraint,
    qualified_values,
)
from autotuner.study.parameters.parameter import Choices, IntRange, Parameter
from autotuner.study.parameters.space import Space

TP = "parallelism.tp"


def space_of(engines: dict[str, Space], shared: Sequence[Parameter] = ()) -> Space:
    names = [p.name for p in shared]
    own = [(engine, p) for engine, space in engines.items() for p in space.parameters if p.name not in names]
    return Space(
        parameters=(choice(list(engines)), *shared, *(qualified(engine, p, names) for engine, p in own)),
        constraints=tuple(
            Constraint.parse(qualified_constraint(engine, c.text, names))
            for engine, space in engines.items()
            for c in space.constraints
        ),
        known=common_known({name: space.known for name, space in engines.items()}, lambda name: name == "cpus"),
    )


@st.composite
def engine_spaces(draw: st.DrawFn) -> Space:
    """Up to three parameters with the same names as those of other engines, a shared one, conditions, a constraint and
    values that only constraints know."""
    names = ["a", "b-c", "env.D"][: draw(st.integers(0, 3))]
    parameters = []
    for index, name in enumerate(names):
        values = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
        other = draw(st.sampled_from([*names[:index], TP, "e", ""]))
        when = f"{other} <= {draw(st.integers(1, 4))}" if other and draw(st.booleans()) else ""
        parameters.append(Parameter(name=name, domain=Choices(values=tuple(values)), when=when))
    text = draw(st.sampled_from(["", f"{TP} <= 1", "a <= e", "a * e != 4", "b_c > 1 or a == null", "cpus > 2"]))
    known: dict[str, Value] = {"e": draw(st.integers(1, 4)), "a": 2, "cpus": 2}
    shared = Parameter(name=TP, domain=Choices(values=(1, 2)))
    constraints = (Constraint.parse(text),) if text else ()
    return Space(parameters=(*parameters, shared), constraints=constraints, known=known)


@settings(max_examples=60, deadline=None)
@given(st.lists(engine_spaces(), min_size=1, max_size=3))
def test_the_common_space_is_the_union(spaces: list[Space]) -> None:
    engines = {f"x-{index}": space for index, space in enumerate(spaces)}
    shared = [Parameter(name=TP, domain=Choices(values=(1, 2)))]
    common = space_of(engines, shared)
    expected = {
        Configuration(values=qualified_values(name, point.values, [TP]))
        for name, space in engines.items()
        for point in space.grid()
    }
    found = list(common.grid())
    assert set(found) == expected
    assert len(found) == len(expected)
    assert common.size == sum(space.size or 0 for space in spaces)
    assert all(common.contains(point) for point in found)
    for point in found:
        engine = str(point.values["engine"])
        assert engines[engine].contains(Configuration(values=own_values(engine, point.values)))
    every = list(Points(common).shuffled(3))
    assert len(every) == common.size == len(set(every))


def test_large_spaces_take_no_memory() -> None:
    wide = [Parameter(name=name, domain=IntRange(low=1, high=1_000_000)) for name in "ab"]
    common = space_of({name: Space(parameters=tuple(wide)) for name in ("x", "y")})
    assert common.size == 2 * 10**12
    assert common.at(10**12 + 1).values.keys() == {"engine", "y.a", "y.b"}


def test_an_engine_keeps_what_only_it_knows() -> None:
    known = {"x": {"gpus": 4, "a": 1, "b": 2}, "y": {"gpus": 4, "a": 3, "b": 2}}
    assert common_known(known, lambda name: name != "b") == {
        "gpus": 4,
        "x.gpus": 4,
        "x.a": 1,
        "x.b": 2,
        "y.gpus": 4,
        "y.a": 3,
        "y.b": 2,
    }


def test_values_of_other_engines_keep_their_names() -> None:
    values = {"engine": "x", "x.a": 1, "y.a": 2, TP: 1}
    assert own_values("x", values) == {"a": 1, "y.a": 2, TP: 1}


@pytest.mark.parametrize("text", ["x == 1", "tp-size * 2 <= gpus", "not (a in [1, 'b'])"])
def test_a_constraint_of_one_engine_excludes_nothing_of_others(text: str) -> None:
    constraint = Constraint.parse(qualified_constraint("one", text, []))
    assert constraint.holds({"engine": "other", "one.x": 2, "one.tp-size": 9, "one.gpus": 1, "one.a": 1}) is True
