"""Values written as bare words in constraints: ``speculative-algorithm == EAGLE``."""

from collections.abc import Callable, Iterator, Sequence

from autotuner.study.base import Value
from autotuner.study.parameters.constraint_parser import Node, Token, parse, tokens

ValuesOf = Callable[[str], Sequence[Value] | None]
"""The listed values of a parameter, by any spelling of its name; None if no parameter has this name."""


def with_values_quoted(text: str, values_of: ValuesOf) -> str:
    """The constraint with quotes around every bare word that is a listed value of the parameter beside it.

    A parameter's name is never quoted, even if the parameter beside it lists a value of that name.

    Args:
        text: The constraint.
        values_of: Looks up a parameter's listed values.

    Raises:
        InvalidValueError: If the constraint cannot be parsed.
    """
    words = {word.start: word for name, word in words_beside(text) if _is_value(text, name, word, values_of)}
    for start in sorted(words, reverse=True):
        end = words[start].end
        text = f"{text[:start]}'{text[start:end]}'{text[end:]}"
    return text


def words_beside(text: str) -> Iterator[tuple[str, Token]]:
    """Every name that ``==``, ``!=`` or ``in`` compares with another name, and that other name. Each comparison gives
    both orders."""
    words = {token.start: token for token in tokens(text) if token.kind == "name"}
    waiting = [parse(text)]
    while waiting:
        node = waiting.pop()
        waiting += node.parts
        if node.operator in ("==", "!=", "in"):
            first, *others = node.parts
            for one, other in [*((first, item) for item in others), *((item, first) for item in others)]:
                if _is_name(one, words) and _is_name(other, words):
                    yield str(one.literal), words[other.start]


def _is_name(node: Node, words: dict[int, Token]) -> bool:
    return node.operator == "name" and node.start in words


def _is_value(text: str, name: str, word: Token, values_of: ValuesOf) -> bool:
    values = values_of(name)
    return values is not None and values_of(word.text) is None and text[word.start : word.end] in values
