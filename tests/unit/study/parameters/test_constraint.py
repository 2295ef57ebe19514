"""The constraint language against an independent reference, and bad text of every kind."""

import itertools
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from autotuner.invalid_value import InvalidValueError
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.constraint_parser import MAX_LENGTH
from autotuner.study.parameters.space import Space

VALUES: dict[str, Any] = {
    "a": 2,
    "b": 3.5,
    "tp-size": 0,
    "s": "fp8",
    "flag": True,
    "off": False,
    "left-out": None,
    "sizes": (1, 2, 4),
}
"""``nowhere`` is missing: its value is unknown."""
NAMES = ["a", "b", "tp-size", "left-out", "nowhere"]


class FaultError(Exception):
    """There is no result."""


class UnknownError(Exception):
    """The result depends on an unknown name."""


def numbers() -> st.SearchStrategy[Any]:
    leaf = st.one_of(
        st.integers(0, 9).map(lambda n: ("num", n)),
        st.sampled_from(NAMES).map(lambda n: ("name", n)),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner, inner),
            st.tuples(st.just("neg"), inner),
            st.tuples(st.sampled_from(["min", "max"]), inner, inner),
        ),
        max_leaves=5,
    )


def truths() -> st.SearchStrategy[Any]:
    compared = st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), numbers(), numbers())
    null = st.tuples(
        st.sampled_from(["==", "!="]), st.sampled_from(NAMES).map(lambda n: ("name", n)), st.just(("null",))
    )
    leaf = st.one_of(compared, null, st.sampled_from(["flag", "off", "left-out", "nowhere"]).map(lambda n: ("name", n)))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["and", "or", "implies"]), inner, inner), st.tuples(st.just("not"), inner)
        ),
        max_leaves=6,
    )


def written(tree: Any) -> str:
    """The tree as text, every operation in parentheses."""
    match tree:
        case ("num" | "name", leaf):
            return str(leaf)
        case ("null",):
            return "null"
        case ("neg", inner):
            return f"(-({written(inner)}))"
        case ("not", inner):
            return f"(not {written(inner)})"
        case ("min" | "max" as name, x, y):
            return f"{name}({written(x)}, {written(y)})"
        case (name, x, y):
            return f"({written(x)} {name} {written(y)})"
    raise AssertionError(tree)


ARITHMETIC = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "min": min, "max": max, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def number(tree: Any) -> Any:
    match tree:
        case ("num", n):
            return n
        case ("null",):
            return None
        case ("name", n):
            if n not in VALUES:
                raise UnknownError
            return VALUES[n]
        case ("neg", inner):
            return -computed([inner])[0]
        case ("==" | "!=" as name, x, y):
            return ARITHMETIC[name](*evaluated([x, y]))
        case (name, x, y):
            try:
                return ARITHMETIC[name](*computed([x, y]))
            except ZeroDivisionError:
                raise FaultError from None
    raise AssertionError(tree)


def evaluated(trees: list[Any], one: Callable[[Any], Any] = number) -> list[Any]:
    """The values of all trees. Raises the worst of their errors: a fault outranks an unknown value."""
    parts = []
    odd = []
    for tree in trees:
        try:
            parts.append(one(tree))
        except (FaultError, UnknownError) as error:
            odd.append(error)
    for kind in (FaultError, UnknownError):
        if any(isinstance(e, kind) for e in odd):
            raise kind
    return parts


def computed(trees: list[Any]) -> list[Any]:
    """The values as numbers; one that the engine decides is unknown."""

    def known(tree: Any) -> Any:
        found = number(tree)
        if found is None:
            raise UnknownError
        return found

    return evaluated(trees, known)


def truth(tree: Any) -> Any:
    """True, False, "unknown" or "fault"."""
    match tree:
        case ("name", n):
            return "unknown" if VALUES.get(n) is None else VALUES[n]
        case ("not", inner):
            value = truth(inner)
            return {True: False, False: True}.get(value, value)
        case ("implies", x, y):
            return truth(("or", ("not", x), y))
        case ("and" | "or" as name, x, y):
            parts = {truth(x), truth(y)}
            decides = name == "or"
            for value in (decides, "unknown", "fault"):
                if value in parts:
                    return value
            return not decides
        case _:
            try:
                return number(tree)
            except UnknownError:
                return "unknown"
            except FaultError:
                return "fault"


@given(truths())
def test_agrees_with_the_reference(tree: Any) -> None:
    expected = {"unknown": None, "fault": False}.get(truth(tree), truth(tree))
    assert Constraint.parse(written(tree)).holds(VALUES) is expected


@given(truths(), st.sampled_from([0, 1, 7, 2.5]))
def test_a_result_does_not_change_once_the_unknown_number_is_known(tree: Any, value: float) -> None:
    """The unknown name is only used as a number, so that no later value can be a type error."""
    text = re.sub(r"\((not |)nowhere\)", r"(\1flag)", written(tree))
    constraint = Constraint.parse(text)
    result = constraint.holds(VALUES)
    later = constraint.holds({**VALUES, "nowhere": value})
    assert result is None or later is result


@given(truths(), truths())
def test_equivalent_logical_forms_give_equal_results(a: Any, b: Any) -> None:
    """``implies`` is ``not a or b``, de Morgan's laws hold, ``!=`` is the negation of ``==``: nulls included."""
    for one, other in (
        (("implies", a, b), ("or", ("not", a), b)),
        (("not", ("and", a, b)), ("or", ("not", a), ("not", b))),
        (("not", ("or", a, b)), ("and", ("not", a), ("not", b))),
        (("not", ("not", a)), a),
        (("implies", a, b), ("implies", ("not", b), ("not", a))),
    ):
        assert Constraint.parse(written(one)).holds(VALUES) is Constraint.parse(written(other)).holds(VALUES)


@given(st.sampled_from([None, "ngram"]), st.sampled_from([None, 2, 4]))
def test_a_parameter_that_is_left_out_is_known_to_be_null(method: str | None, tokens: int | None) -> None:
    """Equivalent ways to state that one parameter needs another."""
    names: dict[str, Any] = {"method": method, "tokens": tokens}
    expected = method == "ngram" or tokens is None
    for text in (
        "method == null implies tokens == null",
        "method == 'ngram' or tokens == null",
        "not (method != 'ngram' and tokens != null)",
        "tokens in [null] or method in ['ngram']",
        "tokens != null implies method != null",
    ):
        assert Constraint.parse(text).holds(names) is expected


def parsed_or_error(text: str) -> Constraint | str:
    try:
        return Constraint.parse(text)
    except ValueError as error:
        return str(error)


@given(st.text(max_size=60) | st.text("ab-+*/%<>=!()[],.'\" 01andornotimplies_", max_size=60))
def test_any_text_is_a_constraint_or_a_value_error(text: str) -> None:
    result = parsed_or_error(text)
    assert result.startswith("column ") if isinstance(result, str) else result.holds(VALUES) in (True, False, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tp-size - 1 < a", True),
        ("a - 1 == 1", True),
        ("tp_size == 0", True),
        ("1 <= a < 3", True),
        ("1 <= a < 2", False),
        ("a in [1, 2]", True),
        ("a not in [1, 2]", False),
        ("s in ['fp8', 'fp16'] and flag", True),
        ("s == \"fp8\" implies a >= 2", True),
        ("a == 1 or left-out > 2", None),
        ("a == 2 or left-out > 2", True),
        ("a == 1 and left-out > 2", False),
        ("a == 2 and nowhere > 2", None),
        ("nowhere > 2", None),
        ("left-out == null", True),
        ("left-out == 8", False),
        ("left-out != 8", True),
        ("left-out in [1, 2]", False),
        ("left-out not in [1, null]", False),
        ("left-out <= 8", None),
        ("left-out * 2 == 8", None),
        ("left-out == nowhere", None),
        ("sizes == '1 2 4'", True),
        ("sizes == 1", False),
        ("max(sizes) <= 4 and min(sizes, 3) == 1", True),
        ("sizes <= 8", False),
        ("sizes == null", False),
        ("a != null", True),
        ("nowhere == null", None),
        ("a / tp-size > 1", False),
        ("not a / tp-size > 1", False),
        ("tp-size == 0 or a / tp-size > 1", True),
        ("s < 3", False),
        ("not s < 3", False),
        ("s == 3", False),
        ("s != 3", True),
        ("flag == 1", False),
        ("flag + 1 > 1", False),
        ("a and flag", False),
        ("-a + 3 == 1", True),
        ("2 * -a == -4", True),
        ("7 - 2 - 1 == 4", True),
        ("1 + 2 * 3 == 7", True),
        ("not flag or flag", True),
        ("ceil(b) == 4 and floor(b) == 3 and abs(-a) == 2", True),
        ("flag implies off implies flag", True),
        ("1e3 == 1000", True),
        ("min(a, b, 9) == 2", True),
    ],
)  # fmt: skip
def test_meaning(text: str, expected: bool | None) -> None:
    assert Constraint.parse(text).holds(VALUES) is expected


BAD: list[tuple[str, int, tuple[str, ...]]] = [
    ("", 1, ()),
    ("a = 1", 3, ("=",)),
    ("a == 1 && b", 8, ("&",)),
    ("a. b == 1", 2, (".",)),
    ("a.__class__ == 1", 2, (".",)),
    ("eval('1') == 1", 1, ("eval",)),
    ("__import__('os')", 1, ("--import--",)),
    ("(a == 1)(b)", 9, ("(",)),
    ("a[0] == 1", 2, ("[",)),
    ("lambda: 1", 7, (":",)),
    ("'a' < 1", 1, ("string",)),
    ("a < true", 5, ("<", "boolean")),
    ("true + 1 > 0", 1, ("+", "boolean")),
    ("a * 2", 1, ()),
    ("--tp == 1", 1, ("--",)),
    ("a == True", 6, ("True",)),
    ("a == 'x", 6, ("'",)),
    ("a == 08b", 6, ()),
    ("a in []", 7, ("]",)),
    ("a < b in [1]", 7, ("in",)),
    ("abs(1, 2) > 1", 1, ("2",)),
    ("a > " + "(" * 60 + "1" + ")" * 60, 55, ("50",)),
    ("a" * (MAX_LENGTH + 1), 1001, ("1000",)),
]
"""Text, column of the error, and the words and numbers that the reason must contain."""


@pytest.mark.parametrize(("text", "column", "facts"), BAD)
def test_bad_text(text: str, column: int, facts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Constraint.parse(text)
    place, _, reason = caught.value.why.partition(": ")
    assert place == f"column {column}"
    assert [fact for fact in facts if fact not in reason] == []


def test_wordings(snapshot: SnapshotAssertion) -> None:
    assert "\n".join(str(parsed_or_error(text)) for text, *_ in BAD) == snapshot


@pytest.mark.parametrize(
    "text", ["a + " * 240 + "a > 1", "not " * 200 + "a", "a == " * 190 + "a", "a implies " * 95 + "a"]
)
def test_long_chains_do_not_overflow_the_stack(text: str) -> None:
    result = parsed_or_error(text)
    assert "split it" in result if isinstance(result, str) else result.holds({"a": 1}) in (True, False)


def test_numbers_beyond_a_float_are_faults() -> None:
    huge = "*".join(["9" * 100] * 9)
    assert Constraint.parse(f"{huge} * 1.5 > 1 or a == 0").holds({"a": 1}) is False
    assert Constraint.parse("ceil(a) > 1").holds({"a": math.inf}) is False
    assert Constraint.parse("a - a == 0").holds({"a": math.inf}) is False


def test_names_are_hyphenated_and_can_be_replaced() -> None:
    constraint = Constraint.parse("tp_size * pp-size <= gpus and kind == 'tp_size'")
    assert constraint.names == {"tp-size", "pp-size", "gpus", "kind"}
    swapped = constraint.renamed(lambda n: {"tp-size": "tensor-parallel-size"}.get(n, n))
    assert swapped.text == "tensor-parallel-size * pp-size <= gpus and kind == 'tp_size'"


def test_a_constraint_is_stored_as_text() -> None:
    space = Space(constraints=(Constraint.parse("a < 2"),))
    assert Space.model_validate_json(space.model_dump_json()) == space
    assert Space.model_validate({"constraints": ["a < 2"]}) == space
    with pytest.raises(ValueError, match="column 5"):
        Space.model_validate({"constraints": ["a < "]})


def test_every_spelling_of_a_name_finds_its_value() -> None:
    for key, text in itertools.product(("a-b_c", "a_b_c", "a-b-c"), ("a-b-c", "a_b_c", "a_b-c")):
        assert Constraint.parse(f"{text} == 1").holds({key: 1}) is True
