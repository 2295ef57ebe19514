"""Answers of a server to the prompts of a quality check, token by token."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.study.base import FrozenModel


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
    answers: tuple[tuple[Token, ...] | None, ...] = ()
    """By prompt; None if it was not answered."""
    seconds: float = 0.0
    late: bool = False
    """Whether the time limit ended it."""
    problem: str = ""
    """The first reason why a prompt was not answered."""


class Reference(FrozenModel):
    """The default's answers: those that others are compared with, and its own under other batch compositions."""

    full: Answers
    """Many prompts in flight, as candidates are asked."""
    controls: tuple[Answers, ...]
    """The same prompts one at a time, and many in flight in another order."""
