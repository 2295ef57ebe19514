"""A made-up language model with known errors: what a quality check sees of a server, without a server.

Logits of the next token are random, but fixed by the text before. Two errors are added to them: one that differs
between requests, as from other batch compositions, and one that is fixed for a server, as from a coarser number
format.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from autotuner.study.quality.answers import Answers, Token

_WORDS = 24
_LISTED = 12


@dataclass(frozen=True)
class ToyModel:
    """One server.

    Args:
        noise: Standard deviation of the error of each request's logits.
        error: Standard deviation of the server's own error.
        server: Distinguishes the own errors of servers.
        sharpness: Standard deviation of the logits; the larger, the surer is the model.
    """

    noise: float = 0.0
    error: float = 0.0
    server: str = ""
    sharpness: float = 2.0

    def answer(self, prompt: str, tokens: int, request: Random) -> tuple[Token, ...]:
        """The greedy answer to one prompt."""
        text = [prompt]
        found = []
        for _ in range(tokens):
            probabilities = self._next("/".join(text[-4:]), request)
            listed = sorted(probabilities.items(), key=lambda item: -item[1])[:_LISTED]
            found.append(Token(text=listed[0][0], top=dict(listed)))
            text.append(listed[0][0])
        return tuple(found)

    def answers(self, prompts: int, tokens: int, request: Random) -> Answers:
        """The answers to made-up prompts."""
        found = tuple(self.answer(f"prompt {number}", tokens, request) for number in range(prompts))
        return Answers(method="toy", answers=found)

    def _next(self, context: str, request: Random) -> Mapping[str, float]:
        """Log-probabilities of the next token."""
        logits = [
            value + (request.gauss(0, self.noise) if self.noise else 0.0)
            for value in _logits(context, self.sharpness, self.error, self.server)
        ]
        top = max(logits)
        total = top + math.log(math.fsum(math.exp(value - top) for value in logits))
        return {f"w{number}": value - total for number, value in enumerate(logits)}


@lru_cache(maxsize=100_000)
def _logits(context: str, sharpness: float, error: float, server: str) -> tuple[float, ...]:
    """The logits of one server without those errors that differ between requests."""
    truth = Random(context)  # noqa: S311 - a made-up model
    own = Random(f"{server} {context}")  # noqa: S311
    return tuple(truth.gauss(0, sharpness) + (own.gauss(0, error) if error else 0.0) for _ in range(_WORDS))
