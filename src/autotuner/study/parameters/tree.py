"""The tree that conditional parameters form: which of them are active, and its points by number.

A parameter belongs to the group of the parameters that its condition names. Groups are independent of one another, so
their sizes multiply. Inside a group only the values of the parameters that conditions name (the deciding ones) are
enumerated; all others multiply. So a tree of 10^12 points takes no more memory than a small one.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, product
from operator import itemgetter

from autotuner.study.base import Value
from autotuner.study.parameters.conditions import (
    in_order_of_dependence,
    named_in,
    named_parameters,
    outcome,
    owners_of,
    seen_by_constraints,
    without_absent,
)
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Parameter

MAX_DECIDING = 100_000
"""Largest number of combinations of values that decide about one group of parameters."""


class ParameterTree:
    """The parameters of a space with their conditions.

    Args:
        parameters: In the order of the study file; conditions must not form a cycle.
        known: Values of names that are not tuned; see :class:`autotuner.study.parameters.space.Space`.
    """

    def __init__(self, parameters: Sequence[Parameter], known: Mapping[str, Value]) -> None:
        self._parameters = tuple(parameters)
        self.order = in_order_of_dependence(self._parameters)
        """The parameters, each after those that its condition names."""
        self.conditional = tuple(p for p in self._parameters if p.when)
        """The parameters that may be inactive."""
        self._names = frozenset(p.name for p in self._parameters)
        owners = owners_of(self._parameters)
        self._conditions = {p.name: _Condition(p.when, owners, known) for p in self.conditional}

    def active(self, values: Mapping[str, Value]) -> frozenset[str]:
        """Names of the parameters that must have a value, given the values of those that decide."""
        if not self.conditional:
            return self._names
        found: dict[str, Value] = {}
        names = set[str]()
        for parameter in self.order:
            if self.is_active(parameter, found):
                names.add(parameter.name)
                if parameter.name in values:
                    found[parameter.name] = values[parameter.name]
        return frozenset(names)

    def is_active(self, parameter: Parameter, given: Mapping[str, Value]) -> bool:
        """Whether a parameter's condition holds. A condition on an inactive parameter does not."""
        condition = self._conditions.get(parameter.name)
        return condition is None or condition.holds(given)

    def decided_by(self, parameter: Parameter) -> tuple[Parameter, ...]:
        """The parameters that decide whether this one is active: those that its condition names."""
        condition = self._conditions.get(parameter.name)
        return () if condition is None else condition.parameters

    def pruned(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The values of active parameters, in the order of the study file."""
        if not self.conditional:
            return dict(values)
        active = self.active(values)
        return {p.name: values[p.name] for p in self._parameters if p.name in active and p.name in values}

    @property
    def size(self) -> int | None:
        """Number of points; None if a range is continuous."""
        if any(p.domain.grid() is None for p in self._parameters):
            return None
        return math.prod(group.size for group in self._groups)

    def at(self, number: int) -> dict[str, Value]:
        """The point with this number, from 0; requires a known :attr:`size`. The last group changes fastest."""
        found: dict[str, Value] = {}
        for group in reversed(self._groups):
            number, position = divmod(number, group.size)
            group.put(position, found)
        return {p.name: found[p.name] for p in self._parameters if p.name in found}

    def points(self) -> Iterator[dict[str, Value]]:
        """All points in the order of their numbers; requires a known :attr:`size`."""
        if self.conditional:
            yield from map(self.at, range(self.size or 0))
            return
        names = [p.name for p in self._parameters]
        for values in product(*(p.domain.grid() or () for p in self._parameters)):
            yield dict(zip(names, values, strict=True))

    def never_active(self) -> tuple[str, ...]:
        """Names of the parameters whose conditions hold at no point; requires a known :attr:`size`."""
        seen = {name for group in self._groups for run in group.runs for name in run.names}
        return tuple(p.name for p in self._parameters if p.when and p.name not in seen)

    def too_many_deciding(self) -> tuple[str, ...]:
        """Names of parameters that decide about others and have too many values together; empty if there are none."""
        for members in self._members:
            deciding = self._deciding(members)
            if math.prod(len(p.domain.grid() or ()) for p in deciding) > MAX_DECIDING:
                return tuple(p.name for p in deciding)
        return ()

    @cached_property
    def _groups(self) -> tuple["_Group", ...]:
        return tuple(_Group(self, self._deciding(members), members) for members in self._members)

    @cached_property
    def _members(self) -> list[list[Parameter]]:
        """The groups' parameters, in order of dependence; groups in the order of their first parameters."""
        group_of = {p.name: {p.name} for p in self._parameters}
        for name, condition in self._conditions.items():
            joined = set().union(group_of[name], *(group_of[p.name] for p in condition.parameters))
            group_of |= dict.fromkeys(joined, joined)
        groups = {id(group_of[p.name]): group_of[p.name] for p in self._parameters}
        return [[p for p in self.order if p.name in group] for group in groups.values()]

    def _deciding(self, members: Sequence[Parameter]) -> list[Parameter]:
        names = {other.name for p in members for other in self.decided_by(p)}
        return [p for p in members if p.name in names]


class _Condition:
    """A condition with what it depends on."""

    def __init__(self, text: str, owners: Mapping[str, Parameter], known: Mapping[str, Value]) -> None:
        self._constraint = Constraint.parse(text)
        self.parameters = named_parameters(self._constraint, owners)
        """The parameters that decide."""
        self._known = named_in(known, self._constraint.names)

    def holds(self, given: Mapping[str, Value]) -> bool:
        values = {p.name: given[p.name] for p in self.parameters if p.name in given}
        known = without_absent(self._known, self.parameters, given)
        return outcome(self._constraint, seen_by_constraints(self.parameters, values), known) is True


@dataclass(frozen=True)
class _Run:
    """Successive values of the last deciding parameter under which the same parameters are active."""

    given: Mapping[str, Value]
    """Values of the other deciding parameters that are active."""
    last: Parameter | None
    """The last deciding parameter; None if it is inactive or there is none."""
    first: int
    """Position of its first value."""
    count: int
    others: tuple[Parameter, ...]
    """Active parameters that do not decide."""

    @property
    def size(self) -> int:
        return self.count * math.prod(len(p.domain.grid() or ()) for p in self.others)

    @property
    def names(self) -> Iterator[str]:
        yield from self.given
        yield from (p.name for p in (*self.others, self.last) if p is not None)


class _Group:
    """Parameters that depend on one another, or a single one."""

    def __init__(self, tree: ParameterTree, deciding: Sequence[Parameter], members: Sequence[Parameter]) -> None:
        self._tree = tree
        self._others = [p for p in members if p not in deciding]
        self.runs = tuple(self._run_list(deciding))
        self._starts = [*accumulate((run.size for run in self.runs), initial=0)]
        self.size = self._starts[-1]

    def put(self, position: int, found: dict[str, Value]) -> None:
        """Adds the values of the point at this position."""
        at = bisect_right(self._starts, position) - 1
        run = self.runs[at]
        position -= self._starts[at]
        for parameter in reversed(run.others):
            grid = parameter.domain.grid() or ()
            position, index = divmod(position, len(grid))
            found[parameter.name] = grid[index]
        found |= run.given
        if run.last is not None:
            found[run.last.name] = (run.last.domain.grid() or ())[run.first + position]

    def _run_list(self, deciding: Sequence[Parameter]) -> Iterator[_Run]:
        for given in self._assignments(deciding[:-1]):
            last = deciding[-1] if deciding and self._tree.is_active(deciding[-1], given) else None
            if last is None:
                yield _Run(given, None, 0, 1, self._active_others(given))
                continue
            active = (self._active_others({**given, last.name: value}) for value in last.domain.grid() or ())
            for others, alike in groupby(enumerate(active), key=itemgetter(1)):
                positions = [position for position, _ in alike]
                yield _Run(given, last, positions[0], len(positions), others)

    def _assignments(self, deciding: Sequence[Parameter]) -> Iterator[dict[str, Value]]:
        if not deciding:
            yield {}
            return
        last = deciding[-1]
        for given in self._assignments(deciding[:-1]):
            if not self._tree.is_active(last, given):
                yield given
                continue
            for value in last.domain.grid() or ():
                yield {**given, last.name: value}

    def _active_others(self, given: Mapping[str, Value]) -> tuple[Parameter, ...]:
        return tuple(p for p in self._others if self._tree.is_active(p, given))
