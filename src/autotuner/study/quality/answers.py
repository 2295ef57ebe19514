"""Answers of a server to the prompts of a quality check, token by token."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from pydantic import Field

from autotuner.study.base import FrozenModel

_WORD = re.compile(r"\S+\s*|\s+")


class Token(FrozenModel):
    """One token of a greedy answer."""

    text: str
    """The token, as the server names it."""
    top: Mapping[str, float] = Field(default_factory=dict)
    """Log-probabilities of the most likely tokens; empty if the server does not return them."""


class Answers(FrozenModel):
    """The answers of one server to all prompts, asked in one way."""

    method: str
    """The request that the server understood, e.g. ``/v1/completions logprobs=20``."""
    prompts: str = ""
    """Digest of the prompts, see :func:`digest_of_prompts`."""
    answers: tuple[tuple[Token, ...] | None, ...] = ()
    """By prompt; None if it was not answered."""
    texts: tuple[str, ...] = ()
    """By prompt; empty where the text is not known."""
    seconds: float = 0.0
    late: bool = False
    """Whether the time limit ended it."""
    problem: str = ""
    """The first reason why a prompt was not answered."""
    refused: bool = False
    """Whether the server refused the request itself, at least once."""

    @property
    def answered(self) -> int:
        """Number of prompts that were answered."""
        return sum(1 for answer in self.answers if answer)

    @property
    def complete(self) -> bool:
        """Whether the tokens cover the texts. With speculative decoding, some servers list only the first one."""
        pairs = zip(self.answers, self.texts, strict=False)
        return all(len(answer) >= len(words_of(text)) for answer, text in pairs if answer)

    @property
    def probable(self) -> bool:
        """Whether there are log-probabilities."""
        return any(token.top for answer in self.answers if answer for token in answer)

    def in_words(self) -> "Answers":
        """The answers by their words, without log-probabilities."""
        words = tuple(words_of(text) or None for text in self.texts)
        return self.replaced(answers=(*words, *[None] * len(self.answers))[: len(self.answers)])

    def in_bare_words(self) -> "Answers":
        """The same without white space, which engines treat differently at the beginning of an answer."""
        words = tuple(tuple(Token(text=word) for word in text.split()) or None for text in self.texts)
        return self.replaced(answers=(*words, *[None] * len(self.answers))[: len(self.answers)], texts=())


def digest_of_prompts(prompts: Sequence[str]) -> str:
    """Identifies prompts and their order: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()[:16]


def words_of(text: str) -> tuple[Token, ...]:
    """Splits a text into words, each with its trailing whitespace."""
    return tuple(Token(text=word) for word in _WORD.findall(text))


class Reference(FrozenModel):
    """The default's answers: those that others are compared with, and its own under other batch compositions."""

    full: Answers
    """Many prompts in flight, as candidates are asked."""
    controls: tuple[Answers, ...]
    """The same prompts one at a time, and many in flight in another order."""
    prompts: tuple[str, ...] = ()
    """The prompts, so that others are asked the same ones even if the built-in set has changed."""
