"""Candidates for one proposal: the whole of a small space, a seeded sample and the surroundings of the best of a large
one."""

from collections.abc import Iterator, Sequence
from itertools import islice

from autotuner.plugins.search import SearchContext
from autotuner.search.points import Axis, Points
from autotuner.search.proposals import LISTED, Proposals, allowed
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration

_NEIGHBORS = 16
"""Most other values of one parameter that are tried beside a good configuration."""
_SHARES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Steps in a continuous range, as shares of the distance to its ends."""
_SURROUNDED = 400
"""Most neighbors that are compared."""


class Candidates:
    """The configurations that may be compared for one proposal."""

    def __init__(self, context: SearchContext, proposals: Proposals, taken: frozenset[str], most: int = LISTED) -> None:
        """Lists at most ``most`` untried configurations."""
        self._context = context
        self._taken = taken
        self._axes = Points(context.space).axes
        self._first = {a.name: a.ends[0] if a.values is None else a.values[0] for a in self._axes}
        """Values of parameters that become active."""
        identified = dict(islice(proposals.identified(taken), most))
        self._identities = frozenset(identified)
        self.listed = list(identified.values())
        self.complete = len(self.listed) < most
        """Whether these are all that are left."""
        self.sampled = not self.complete and not context.space.combinations
        """Whether others may be found around good ones."""

    def around(self, good: Sequence[Configuration]) -> list[Configuration]:
        """Allowed, untried configurations that differ in one parameter from a good one; none if all are listed."""
        if not self.sampled:
            return []
        found: dict[str, Configuration] = {}
        for neighbor in self._neighbors(good):
            identity = self._context.identity(neighbor)
            if identity in self._identities or identity in found or identity in self._taken:
                continue
            if allowed(self._context, neighbor):
                found[identity] = neighbor
                if len(found) == _SURROUNDED:
                    break
        return list(found.values())

    def _neighbors(self, good: Sequence[Configuration]) -> Iterator[Configuration]:
        for configuration in good:
            if not self._context.space.is_complete(configuration):
                continue  # a default that is not in the space
            full = {**self._first, **configuration.values}
            for axis in (a for a in self._axes if a.name in configuration.values):
                for value in _others(axis, configuration.values[axis.name]):
                    yield self._context.space.pruned({**full, axis.name: value})


def _others(axis: Axis, value: Value) -> Iterator[Value]:
    """Other values of a parameter: the nearest ones, and for ordered ones some farther away on both sides."""
    if axis.values is None:
        if isinstance(value, int | float):
            yield from (value + share * (end - value) for share in _SHARES for end in axis.ends)
        return
    at = axis.position(value)
    if at is None:
        return
    count = len(axis.values)
    if not axis.ordered or count <= _NEIGHBORS:
        yield from islice((v for i, v in enumerate(axis.values) if i != at), _NEIGHBORS)
        return
    step = 1
    while step < count:
        for i in (at - step, at + step):
            if 0 <= i < count:
                yield axis.values[i]
        step *= 4
