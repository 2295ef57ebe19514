"""Points of a space, numbered and computed on demand: a space of 10^12 points costs no more memory than one of ten.

A point consists of one position per parameter. A continuous range has no positions; its values are drawn at random.
"""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from random import Random

from autotuner.study.base import Value, same
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import Choices, FloatRange, Parameter, Steps
from autotuner.study.parameters.space import Space


class Axis:
    """One parameter's values by position; ``values`` is None for a continuous range."""

    def __init__(self, parameter: Parameter) -> None:
        self.name = parameter.name
        self.domain = parameter.domain
        self.values = parameter.domain.grid()

    def draw(self, random: Random) -> Value:
        """A random value: uniform over the positions or over the range; log-uniform if the range is logarithmic."""
        if self.values is not None:
            return self.values[random.randrange(len(self.values))]
        domain = self.domain
        assert isinstance(domain, FloatRange)  # noqa: S101 - only these have no positions
        share = random.random()
        value = (
            domain.low * (domain.high / domain.low) ** share
            if domain.log
            else domain.low + share * (domain.high - domain.low)
        )
        return min(max(value, domain.low), domain.high)

    def position(self, value: Value) -> int | None:
        """Position of a value, compared with its type; None if it is not listed, or the range is continuous."""
        if self.values is None:
            return None
        if isinstance(self.domain, Choices):
            return next((i for i, v in enumerate(self.values) if same(v, value)), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if isinstance(self.values, Steps):
            return self.values.position(value)
        return self.values.index(value) if isinstance(value, int) and value in self.values else None

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest value of an ordered axis."""
        if self.values is None:
            assert isinstance(self.domain, FloatRange)  # noqa: S101 - only these have no positions
            return self.domain.low, self.domain.high
        numbers = [float(v) for v in (self.values[0], self.values[-1]) if isinstance(v, int | float)]
        return min(numbers), max(numbers)

    @property
    def ordered(self) -> bool:
        """Whether positions are ordered by amount: in ranges, and in lists of rising or falling numbers."""
        if not isinstance(self.domain, Choices):
            return True
        numbers = [v for v in self.domain.values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < len(self.domain.values):
            return False
        pairs = list(pairwise(numbers))
        return all(a < b for a, b in pairs) or all(a > b for a, b in pairs)


class Points:
    """All points of a space, by number, in the order of the parameters (the last one changes fastest). Parameters that
    depend on one another are next to each other in this order."""

    def __init__(self, space: Space) -> None:
        self.axes = tuple(Axis(p) for p in space.parameters)
        self._space = space
        self.size = space.size
        """Number of points before constraints; None if a range is continuous."""

    def at(self, number: int) -> Configuration:
        """The point with this number, from 0; requires a known ``size``."""
        return self._space.at(number)

    def in_order(self) -> Iterator[Configuration]:
        """Every point once, in order."""
        return (self.at(number) for number in range(self.size or 0))

    def shuffled(self, seed: int) -> Iterator[Configuration]:
        """Every point once, in a pseudorandom order fixed by the seed; without end if a range is continuous."""
        if self.size is not None:
            return (self.at(number) for number in permutation(self.size, seed))
        return self._drawn(Random(f"points {seed}"))  # noqa: S311 - not for secrets

    def _drawn(self, random: Random) -> Iterator[Configuration]:
        while True:
            yield self._space.pruned({a.name: a.draw(random) for a in self.axes})


def permutation(size: int, seed: int) -> Iterator[int]:
    """The numbers below ``size``, each once, in a seeded random order, in constant memory.

    A Feistel network permutes the numbers below the next power of four. A result outside of the range is permuted
    again (cycle walking), which ends because the network is a permutation.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    for number in range(size):
        while (number := _feistel(number, half, seed)) >= size:
            pass
        yield number


def _feistel(number: int, half: int, seed: int) -> int:
    mask = (1 << half) - 1
    left = number >> half
    right = number & mask
    for turn in range(4):
        digest = blake2b(f"{seed} {turn} {right}".encode(), digest_size=16).digest()
        left, right = right, left ^ (int.from_bytes(digest) & mask)
    return (left << half) | right
