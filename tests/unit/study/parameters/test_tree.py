"""Conditional parameters: active ones, numbered points, sizes of trees and values that are absent."""

from itertools import islice, product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.search.points import Points, permutation
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.conditions import cycle, in_order_of_dependence
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, IntRange, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.parameters.tree import MAX_DECIDING

VALUES: tuple[Value, ...] = ("none", "x", 1, 2, None)


def listed(name: str, *values: Value, when: str = "") -> Parameter:
    return Parameter(name=name, domain=Choices(values=values), when=when)


SPECULATIVE = Space(
    parameters=(
        listed("steps", 1, 3, when="algorithm != 'none'"),
        listed("algorithm", "none", "EAGLE", "NGRAM"),
        listed("topk", 1, 4, 8, when="algorithm == 'EAGLE' and steps > 1"),
        listed("tp", 1, 2),
    )
)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to five parameters with conditions on earlier and later ones, without cycles, and a constraint."""
    names = ["a", "b", "c", "d", "e"][: draw(st.integers(1, 5))]
    rank = dict(zip(names, draw(st.permutations(range(len(names)))), strict=True))

    def comparison(others: list[str]) -> str:
        name = draw(st.sampled_from(others))
        value = draw(st.sampled_from(["'none'", "'x'", "1", "2", "null"]))
        return f"{name} {draw(st.sampled_from(['==', '!=']))} {value}"

    parameters = []
    for name in names:
        values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique_by=repr))
        before = [other for other in names if rank[other] < rank[name]]
        when = ""
        if before and draw(st.booleans()):
            when = f" {draw(st.sampled_from(['and', 'or']))} ".join(
                comparison(before) for _ in range(draw(st.integers(1, 2)))
            )
        parameters.append(listed(name, *values, when=when))
    constraints = (Constraint.parse(comparison(names)),) if draw(st.booleans()) else ()
    known = {"a": 2} if draw(st.booleans()) else {}
    return Space(parameters=tuple(parameters), constraints=constraints, known=known)


def brute_force(space: Space) -> dict[str, Configuration]:
    """Every combination of values without those of inactive parameters, found by repeated removal."""
    found = {}
    for values in product(*(p.domain.grid() or () for p in space.parameters)):
        point = dict(zip((p.name for p in space.parameters), values, strict=True))
        while gone := [p.name for p in space.parameters if p.name in point and not _holds(space, p, point)]:
            for name in gone:
                del point[name]
        configuration = Configuration(values=point)
        found[configuration.key] = configuration
    return found


def _holds(space: Space, parameter: Parameter, point: dict[str, Value]) -> bool:
    if not parameter.when:
        return True
    condition = Constraint.parse(parameter.when)
    conditional = {p.name for p in space.parameters if p.when}
    known = {n: v for n, v in space.known.items() if n not in conditional or n in point}
    left_out = {name for name, value in point.items() if value is None}
    given = {name: value for name, value in point.items() if value is not None}
    return condition.holds({**point, **known, **given}, left_out) is True


@given(spaces(), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_the_points_are_those_of_a_brute_force_search_each_once(space: Space, seed: int) -> None:
    expected = brute_force(space)
    points = Points(space)
    assert points.size == len(expected)
    in_order = [c.key for c in points.in_order()]
    assert set(in_order) == set(expected)
    assert len(in_order) == len(expected)
    assert sorted(c.key for c in points.shuffled(seed)) == sorted(expected)
    allowed = [c for c in expected.values() if space.allows(c)]
    assert {c.key for c in space.grid()} == {c.key for c in allowed}
    assert all(space.contains(c) == space.allows(c) for c in expected.values())
    assert space.sample(Random(seed)).key in expected


@given(spaces(), st.sampled_from(VALUES))
@settings(max_examples=40, deadline=None)
def test_a_space_contains_no_value_of_an_inactive_parameter(space: Space, value: Value) -> None:
    for configuration in islice(space.grid(), 20):
        for parameter in space.parameters:
            if parameter.name not in configuration.values:
                more = Configuration(values={**configuration.values, parameter.name: value})
                assert not space.contains(more)
                assert space.pruned(more.values) == configuration
            else:
                fewer = {n: v for n, v in configuration.values.items() if n != parameter.name}
                assert not space.contains(Configuration(values=fewer)) or parameter.when


def test_conditions_may_name_later_parameters_and_depend_on_one_another() -> None:
    assert SPECULATIVE.size == 2 * (1 + (1 + 3) + 2)
    texts = {c.text for c in SPECULATIVE.grid()}
    assert len(texts) == 14
    assert "algorithm=none tp=1" in texts
    assert "steps=3 algorithm=EAGLE topk=8 tp=2" in texts
    assert not any("topk" in text for text in texts if "steps=1" in text)


def test_a_space_can_be_changed_after_it_was_counted() -> None:
    assert SPECULATIVE.size == 14
    assert SPECULATIVE.replaced(parameters=SPECULATIVE.parameters[3:]).size == 2
    assert Space.model_validate_json(SPECULATIVE.model_dump_json()) == SPECULATIVE


def test_absent_is_not_null() -> None:
    space = Space(parameters=(listed("a", 1, 2), listed("b", None, 5, when="a == 2")))
    points = list(space.grid())
    assert [dict(c.values) for c in points] == [{"a": 1}, {"a": 2, "b": None}, {"a": 2, "b": 5}]
    assert len({c.key for c in points}) == 3
    assert [c.text for c in points] == ["a=1", "a=2 b=-", "a=2 b=5"]
    assert not space.contains(Configuration(values={"a": 1, "b": None}))


@pytest.mark.parametrize("constraint", ["b <= 5", "b != 5", "a == 2 implies b == 5"])
def test_a_constraint_on_an_inactive_parameter_holds(constraint: str) -> None:
    """Also if the engine's default of the parameter is known: it is not what the study compares."""
    parameters = (listed("a", 1, 2), listed("b", 5, 7, when="a == 2"))
    space = Space(parameters=parameters, constraints=(Constraint.parse(constraint),), known={"b": 9})
    assert [tuple(c.values) for c in space.grid()] == [("a",), ("a", "b")]


@pytest.mark.parametrize("name", ["b", "p"])
def test_a_condition_on_an_inactive_parameter_does_not_hold(name: str) -> None:
    """Even if the engine's default of the parameter, or of a flag in its combinations, would satisfy it."""
    combinations = {"x": {"b": 5}, "y": {"b": 7}}
    deciding = {
        "b": listed("b", 5, 7, when="a == 2"),
        "p": Parameter(name="p", domain=Choices(values=("x", "y")), when="a == 2", combinations=combinations),
    }
    parameters = (listed("a", 1, 2), deciding[name], listed("c", 1, when="b >= 7"))
    space = Space(parameters=parameters, known={"b": 9})
    assert [tuple(c.values) for c in space.grid()] == [("a",), ("a", name), ("a", name, "c")]


def test_a_tree_of_a_trillion_points_takes_no_memory() -> None:
    wide = IntRange(low=1, high=1_000_000)
    space = Space(
        parameters=(
            listed("mode", "off", "one", "both"),
            Parameter(name="a", domain=wide, when="mode != 'off'"),
            Parameter(name="b", domain=wide, when="mode == 'both'"),
            Parameter(name="gate", domain=IntRange(low=1, high=5_000)),
            listed("c", 1, 2, when="gate > 10"),
        )
    )
    tree = 1 + 10**6 + 10**12
    assert space.size == tree * (10 + 2 * 4_990)
    assert sum(len(group.runs) for group in space.tree._groups) == 5
    seen = {space.at(n).key for n in islice(permutation(space.size, 3), 500)}
    assert len(seen) == 500
    assert dict(space.at(space.size - 1).values) == {
        "mode": "both",
        "a": 10**6,
        "b": 10**6,
        "gate": 5_000,
        "c": 2,
    }


def test_too_many_values_that_decide_are_noticed_without_counting_them() -> None:
    wide = IntRange(low=1, high=MAX_DECIDING)
    parameters = (
        Parameter(name="a", domain=wide),
        Parameter(name="b", domain=wide),
        listed("c", 1, 2, when="a * b > 10"),
    )
    assert Space(parameters=parameters).tree.too_many_deciding() == ("a", "b")
    assert Space(parameters=parameters[:1]).tree.too_many_deciding() == ()


def test_a_continuous_range_may_be_conditional_and_decide() -> None:
    share = {"kind": "float", "low": 0.5, "high": 1.0}
    parameters: list[Any] = [
        {"name": "m", "domain": share},
        {"name": "big", "domain": {"values": [1, 2]}, "when": "m > 0.75"},
        {"name": "f", "domain": share, "when": "big == 2"},
    ]
    parameters[1]["domain"]["kind"] = "choices"
    space = Space.model_validate({"parameters": parameters})
    assert space.size is None
    drawn = list(islice(Points(space).shuffled(1), 200))
    assert all(space.contains(c) for c in drawn)
    assert {tuple(c.values) for c in drawn} == {("m",), ("m", "big"), ("m", "big", "f")}


def test_circles_are_found() -> None:
    a = listed("a", 1, 2, when="c == 1")
    b = listed("b", 1, 2, when="a == 1")
    c = listed("c", 1, 2, when="b == 1")
    free = listed("free", 1, 2)
    after = listed("after", 1, when="a == 1")
    assert cycle([free, after, a, b, c]) == ("a", "c", "b")
    assert cycle([free, listed("x", 1, when="x == 1")]) == ("x",)
    assert cycle([free, b, listed("a", 1)]) == ()
    assert [p.name for p in in_order_of_dependence([b, free, listed("a", 1)])] == ["free", "a", "b"]


def test_a_default_that_leaves_the_deciding_parameter_out_decides_too() -> None:
    """``null`` equals the engine's default where that is known."""
    space = Space(
        parameters=(listed("a", None, 1, 4), listed("b", 1, 2, when="a > 2")),
        known={"a": 8, "b": 0},
    )
    assert sorted(c.text for c in space.grid()) == ["a=- b=1", "a=- b=2", "a=1", "a=4 b=1", "a=4 b=2"]
