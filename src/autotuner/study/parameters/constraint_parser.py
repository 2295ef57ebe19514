"""Parser of constraints: text to tokens to a tree.

:mod:`autotuner.study.parameters.constraint` evaluates the tree. This is a Pratt parser: every infix operator has a
binding power, and the stronger side takes an operand. Length and depth are limited, so that untrusted text is parsed in
bounded time and stack. All errors are :class:`InvalidValueError` with the column, the reason and a remedy.
"""

import re
from dataclasses import dataclass
from typing import NoReturn

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError

MAX_LENGTH = 1000
MAX_DEPTH = 50
"""Limit of nested parentheses, prefixes and right-hand sides."""
MAX_CHAIN = 200
"""Limit of consecutive operators without parentheses."""

FUNCTIONS = {"min": None, "max": None, "abs": 1, "ceil": 1, "floor": 1}
"""Functions by number of arguments; None: one or more."""

_WORDS = ("and", "or", "not", "in", "implies", "true", "false", "null")
_TOKEN = re.compile(
    r"(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*(?:\.[A-Za-z][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*)*)"
    r"|(?P<string>'[^'\n]*'|\"[^\"\n]*\")"
    r"|(?P<symbol>==|!=|<=|>=|//|[<>+\-*/%()\[\],])"
)
_VERSION = re.compile(r"\w+(?:-+\w+)*\.\d[\w.-]*")
"""Text such as ``v0.11.0``, which looks like a name up to the dot."""
_MISTAKES = {
    "=": "write == for equality",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "^": "write the product out",
    ".": "a value has no parts; a dot only belongs inside a parameter's name: parallelism.tp",
    "'": "close the string with the same quote",
    '"': "close the string with the same quote",
}
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null", "AND": "and", "OR": "or", "NOT": "not"}


@dataclass(frozen=True)
class Token:
    """A piece of the text: ``number``, ``name``, ``string``, ``word``, ``symbol`` or ``end``."""

    kind: str
    text: str
    """Names are hyphenated; strings are without their quotes."""
    start: int
    end: int


@dataclass(frozen=True)
class Node:
    """An operator and its operands; ``literal`` and ``name`` are the leaves."""

    operator: str
    parts: tuple["Node", ...] = ()
    literal: bool | int | float | str | None = None
    """A leaf's value or name, or a call's function."""
    gives: str = "any"
    """Kind of the result: ``boolean``, ``number``, ``string``, ``null``, or ``any`` if it depends on a name's value."""
    start: int = 0
    depth: int = 1


def parse(text: str) -> Node:
    """The tree of a whole constraint. Raises :class:`InvalidValueError`."""
    parser = _Parser(text)
    node = parser.expression(0, 0)
    if parser.next.kind != "end":
        fail(parser.next.start, f'unexpected "{parser.next.text}"', "expected an operator or the end")
    if node.gives not in ("boolean", "any"):
        fail(node.start, f"gives a {node.gives}, not true or false", "compare it with something, e.g. <= 8")
    return node


def tokens(text: str) -> list[Token]:
    """All tokens, including the end. Raises :class:`InvalidValueError`."""
    if len(text) > MAX_LENGTH:
        fail(MAX_LENGTH, f"longer than {MAX_LENGTH} characters", "split it into several constraints")
    found: list[Token] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            fail(position, f'unexpected "{text[position]}"', _MISTAKES.get(text[position], ""))
        found.append(_token(match))
        if found[-1].kind == "number" and text[match.end() : match.end() + 1].isidentifier():
            fail(position, "a name cannot begin with a digit, nor a number contain letters", "")
        if found[-1].kind == "name" and (version := _VERSION.match(text, position)):
            fail(match.end(), 'unexpected "."', f"quote text that is not a name: '{version.group()}'")
        position = match.end()
    return [*found, Token("end", "end of the text", len(text), len(text))]


def _token(match: re.Match[str]) -> Token:
    kind = str(match.lastgroup)
    text = match.group()
    if kind == "name" and text in _WORDS:
        kind = "word"
    elif kind == "name" and text in _PYTHON_WORDS:
        fail(match.start(), f'unexpected "{text}"', f"write {_PYTHON_WORDS[text]}")
    elif kind == "name":
        text = text.replace("_", "-")
    elif kind == "string":
        text = text[1:-1]
    return Token(kind, text, match.start(), match.end())


def fail(position: int, why: str, remedy: str) -> NoReturn:
    """Raises the error for a position; columns count from 1."""
    raise InvalidValueError(f"column {position + 1}: {why}", remedy=remedy)


_POWERS = {
    "implies": 1,
    "or": 2,
    "and": 3,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not"), 5),
    **dict.fromkeys("+-", 6),
    **dict.fromkeys(("*", "/", "//", "%"), 7),
}
_NOT = 4
_MINUS = 8
_LOGIC = ("implies", "or", "and")
_TESTS = ("==", "!=", "<", "<=", ">", ">=")


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._at = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self.next
        self._at += token.kind != "end"
        return token

    def _is(self, *texts: str) -> bool:
        return self.next.kind in ("symbol", "word") and self.next.text in texts

    def _expect(self, text: str) -> None:
        if not self._is(text):
            fail(self.next.start, f'expected "{text}", found "{self.next.text}"', "")
        self._take()

    def expression(self, power: int, depth: int) -> Node:
        """The expression up to the first operator that does not bind stronger than ``power``."""
        if depth > MAX_DEPTH:
            fail(self.next.start, f"nested more than {MAX_DEPTH} deep", "split it into several constraints")
        left = self._prefix(depth)
        while self.next.kind in ("symbol", "word") and _POWERS.get(self.next.text, -1) > power:
            comparison = _POWERS[self.next.text] == _POWERS["=="]
            left = self._tests(left, depth) if comparison else self._infix(left, depth)
            if left.depth > MAX_CHAIN:
                fail(self.next.start, f"more than {MAX_CHAIN} operators in a row", "split it into several constraints")
        return left

    def _infix(self, left: Node, depth: int) -> Node:
        token = self._take()
        name = token.text
        power = _POWERS[name] - (name == "implies")
        right = self.expression(power, depth + 1)
        wanted = "boolean" if name in _LOGIC else "number"
        for part in (left, right):
            _need(part, wanted, name)
        return _node(name, left, right, gives=wanted)

    def _tests(self, left: Node, depth: int) -> Node:
        """A comparison, or a chain of comparisons: the conjunction of its pairs."""
        pairs: list[Node] = []
        while self.next.kind in ("symbol", "word") and _POWERS.get(self.next.text) == _POWERS["=="]:
            if len(pairs) >= MAX_CHAIN:
                fail(self.next.start, f"more than {MAX_CHAIN} operators in a row", "split it into several constraints")
            token = self._take()
            if token.text in _TESTS:
                right = self.expression(_POWERS["=="], depth + 1)
                pairs.append(_test(token.text, left, right))
                left = right
                continue
            if pairs:
                fail(token.start, f'"{token.text}" cannot be part of a chain', "use parentheses or and")
            return self._membership(token, left, depth)
        return pairs[0] if len(pairs) == 1 else _node("and", *pairs, gives="boolean")

    def _membership(self, token: Token, left: Node, depth: int) -> Node:
        if token.text == "not":
            self._expect("in")
        self._expect("[")
        items = self._list("]", depth)
        found = _node("in", left, *items, gives="boolean")
        if _POWERS.get(self.next.text) == _POWERS["=="] and self.next.kind in ("symbol", "word"):
            fail(self.next.start, f'"{self.next.text}" cannot follow a list', "use parentheses or and")
        return _node("not", found, gives="boolean") if token.text == "not" else found

    def _list(self, closing: str, depth: int) -> list[Node]:
        items = [self.expression(_POWERS["=="], depth + 1)]
        while self._is(","):
            self._take()
            items.append(self.expression(_POWERS["=="], depth + 1))
        self._expect(closing)
        return items

    def _prefix(self, depth: int) -> Node:
        token = self._take()
        if token.kind in ("number", "string", "name"):
            return self._leaf(token, depth)
        match token.text if token.kind in ("symbol", "word") else "":
            case "true" | "false":
                return Node("literal", literal=token.text == "true", gives="boolean", start=token.start)
            case "null":
                return Node("literal", literal=None, gives="null", start=token.start)
            case "(":
                inner = self.expression(0, depth + 1)
                self._expect(")")
                return inner
            case "not":
                inner = self.expression(_NOT, depth + 1)
                _need(inner, "boolean", "not")
                return _node("not", inner, gives="boolean", start=token.start)
            case "-":
                if self._is("-"):
                    fail(token.start, 'unexpected "--"', "write a parameter's name without its dashes")
                inner = self.expression(_MINUS, depth + 1)
                _need(inner, "number", "-")
                return _node("-", inner, gives="number", start=token.start)
        fail(
            token.start,
            f'expected a value, found "{token.text}"' if token.kind != "end" else "ends too early",
            "e.g. tp-size * pp-size <= gpus",
        )

    def _leaf(self, token: Token, depth: int) -> Node:
        if token.kind == "string":
            return Node("literal", literal=token.text, gives="string", start=token.start)
        if token.kind == "number":
            number = int(token.text) if token.text.isdigit() else float(token.text)
            return Node("literal", literal=number, gives="number", start=token.start)
        if not self._is("("):
            return Node("name", literal=token.text, start=token.start)
        if token.text not in FUNCTIONS:
            fail(token.start, f'unknown function "{token.text}"', did_you_mean(token.text, list(FUNCTIONS)))
        self._take()
        parts = self._list(")", depth)
        arity = FUNCTIONS[token.text]
        if arity is not None and len(parts) != arity:
            fail(token.start, f"{token.text} takes one argument, not {len(parts)}", "")
        for part in parts:
            _need(part, "number", token.text)
        return _node("call", *parts, literal=token.text, gives="number", start=token.start)


def _node(operator: str, *parts: Node, gives: str, literal: str | None = None, start: int | None = None) -> Node:
    return Node(
        operator,
        parts,
        literal=literal,
        gives=gives,
        start=parts[0].start if start is None else start,
        depth=1 + max(part.depth for part in parts),
    )


def _need(node: Node, wanted: str, user: str) -> None:
    if node.gives not in (wanted, "any"):
        remedy = "null can only be compared, with == or !=" if node.gives == "null" else ""
        fail(node.start, f'"{user}" needs a {wanted} here, not a {node.gives}', remedy)


def _test(name: str, left: Node, right: Node) -> Node:
    if name not in ("==", "!="):
        for node in (left, right):
            if node.gives in ("boolean", "null"):
                fail(node.start, f'a {node.gives} has no order, so "{name}" cannot be used', "use == or !=")
        if "any" not in (left.gives, right.gives) and left.gives != right.gives:
            fail(left.start, f"a {left.gives} cannot be compared with a {right.gives} by {name}", "")
    return _node(name, left, right, gives="boolean")
