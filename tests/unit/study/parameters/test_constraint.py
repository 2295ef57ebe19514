"""The constraint language against a reference that knows nothing of its parser, and against every kind of bad text."""

import itertools
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
"""``nowhere`` is not among them: nothing is known of it."""
NAMES = ["a", "b", "tp-size", "left-out", "nowhere"]


class FaultError(Exception):
    """No answer exists."""


class UnknownError(Exception):
    """Hangs on an unknown name."""


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
    """All of them, or the worst that can be said of one: a fault, else something unknown."""
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
    """As numbers to compute with: what the engine decides is unknown."""

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
def test_an_answer_stands_whatever_the_unknown_number_turns_out_to_be(tree: Any, value: float) -> None:
    """The unknown name is used as a number only, so that no other value of it can be a fault of its kind."""
    text = re.sub(r"\((not |)nowhere\)", r"(\1flag)", written(tree))
    constraint = Constraint.parse(text)
    said = constraint.holds(VALUES)
    later = constraint.holds({**VALUES, "nowhere": value})
    assert said is None or later is said


@given(truths(), truths())
def test_logical_forms_that_mean_the_same_exclude_the_same(a: Any, b: Any) -> None:
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
    """The two ways to say that a parameter needs another one."""
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
    said = parsed_or_error(text)
    assert said.startswith("column ") if isinstance(said, str) else said.holds(VALUES) in (True, False, None)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: ends too early; e.g. tp-size * pp-size <= gpus"),
        ("a = 1", 'column 3: unexpected "="; write == for equality'),
        ("a == 1 && b", 'column 8: unexpected "&"; write and'),
        (
            "a. b == 1",
            'column 2: unexpected "."; a value has no parts; a dot only belongs inside a parameter\'s name: '
            "parallelism.tp",
        ),
        (
            "a.__class__ == 1",
            'column 2: unexpected "."; a value has no parts; a dot only belongs inside a parameter\'s '
            "name: parallelism.tp",
        ),
        ("eval('1') == 1", 'column 1: unknown function "eval"; known: abs, ceil, floor, max, min'),
        ("__import__('os')", 'column 1: unknown function "--import--"; known: abs, ceil, floor, max, min'),
        ("(a == 1)(b)", 'column 9: unexpected "("; expected an operator or the end'),
        ("a[0] == 1", 'column 2: unexpected "["; expected an operator or the end'),
        ("lambda: 1", 'column 7: unexpected ":"'),
        ("'a' < 1", "column 1: a string cannot be compared with a number by <"),
        ("a < true", 'column 5: a boolean has no order, so "<" cannot be used; use == or !='),
        ("true + 1 > 0", 'column 1: "+" needs a number here, not a boolean'),
        ("a * 2", "column 1: gives a number, not true or false; compare it with something, e.g. <= 8"),
        ("--tp == 1", 'column 1: unexpected "--"; write a parameter\'s name without its dashes'),
        ("a == True", 'column 6: unexpected "True"; write true'),
        ("a == 'x", 'column 6: unexpected "\'"; close the string with the same quote'),
        ("a == 08b", "column 6: a name cannot begin with a digit, nor a number contain letters"),
        ("a in []", 'column 7: expected a value, found "]"; e.g. tp-size * pp-size <= gpus'),
        ("a < b in [1]", 'column 7: "in" cannot be part of a chain; use parentheses or and'),
        ("abs(1, 2) > 1", "column 1: abs takes one argument, not 2"),
        ("a > " + "(" * 60 + "1" + ")" * 60, "column 55: nested more than 50 deep; split it into several constraints"),
        ("a" * (MAX_LENGTH + 1), "column 1001: longer than 1000 characters; split it into several constraints"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="column") as error:
        Constraint.parse(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "text", ["a + " * 240 + "a > 1", "not " * 200 + "a", "a == " * 190 + "a", "a implies " * 95 + "a"]
)
def test_the_longest_chains_neither_overflow_the_stack_nor_pass_silently(text: str) -> None:
    said = parsed_or_error(text)
    assert "split it" in said if isinstance(said, str) else said.holds({"a": 1}) in (True, False)


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


def test_stored_as_text_inside_a_noun() -> None:
    space = Space(constraints=(Constraint.parse("a < 2"),))
    assert Space.model_validate_json(space.model_dump_json()) == space
    assert Space.model_validate({"constraints": ["a < 2"]}) == space
    with pytest.raises(ValueError, match="column 5"):
        Space.model_validate({"constraints": ["a < "]})


def test_every_spelling_of_a_name_finds_its_value() -> None:
    for key, text in itertools.product(("a-b_c", "a_b_c", "a-b-c"), ("a-b-c", "a_b_c", "a_b-c")):
        assert Constraint.parse(f"{text} == 1").holds({key: 1}) is True
