"""The search space: parameters, and constraints between them."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from random import Random

from pydantic import Field

from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.conditions import named_in, outcome, seen_by_constraints, without_absent
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import FloatRange, IntRange, Parameter
from autotuner.study.parameters.tree import ParameterTree


class Space(FrozenModel):
    """The configurations that a study may launch."""

    parameters: tuple[Parameter, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    combinations: tuple[Mapping[str, Value], ...] = ()
    """The points of the space, each with a value for every parameter; empty: all combinations of values."""
    known: Mapping[str, Value] = Field(default_factory=dict)
    """Values of names that constraints may use but that are not tuned: fixed arguments, catalog defaults, hardware."""

    @property
    def tree(self) -> ParameterTree:
        """The parameters with their conditions."""
        return self._tree

    @cached_property
    def _tree(self) -> ParameterTree:  # a public cached property would be taken for a field by ``replaced``
        return ParameterTree(self.parameters, self.known)

    @property
    def size(self) -> int | None:
        """Number of points before constraints; None if a range is continuous."""
        return len(self.combinations) or self.tree.size

    def at(self, number: int) -> Configuration:
        """The point with this number, from 0; requires a known :attr:`size`. It may violate constraints."""
        return Configuration(values=self.combinations[number] if self.combinations else self.tree.at(number))

    def pruned(self, values: Mapping[str, Value]) -> Configuration:
        """The configuration with these values, without those of inactive parameters."""
        return Configuration(values=self.tree.pruned(values))

    def allows(self, configuration: Configuration) -> bool:
        """Whether all constraints hold. A constraint with an unknown value counts as satisfied.

        A parameter that is left to the engine equals ``null``, and also its default if that is known. The value of an
        inactive parameter is unknown.
        """
        if self.combinations and self._point(configuration).key not in self._listed:
            return False
        values = configuration.values
        seen = seen_by_constraints(self.parameters, values)
        known = without_absent(self._known_to_constraints, self.tree.conditional, values)
        return all(outcome(c, seen, known) is not False for c in self.constraints)

    @cached_property
    def _known_to_constraints(self) -> dict[str, Value]:
        return named_in(self.known, frozenset[str]().union(*(c.names for c in self.constraints)))

    def _point(self, configuration: Configuration) -> Configuration:
        return Configuration(values={p.name: configuration.values.get(p.name) for p in self.parameters})

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(self._point(Configuration(values=point)).key for point in self.combinations)

    def is_complete(self, configuration: Configuration) -> bool:
        """Whether exactly the active parameters have a value."""
        return set(configuration.values) == self.tree.active(configuration.values)

    def contains(self, configuration: Configuration) -> bool:
        """Whether exactly the active parameters have a value, in its domain, and all constraints hold."""
        values = configuration.values
        return (
            self.is_complete(configuration)
            and all(p.domain.contains(values[p.name]) for p in self.parameters if p.name in values)
            and self.allows(configuration)
        )

    def grid(self) -> Iterator[Configuration]:
        """All allowed configurations, each once, in the order of the parameters; parameters that depend on one another
        vary together. Raises ``ValueError`` for a continuous range."""
        if self.size is None:
            name = next(p.name for p in self.parameters if p.domain.grid() is None)
            raise ValueError(f"{name} is continuous")
        points = self.combinations or self.tree.points()
        yield from filter(self.allows, (Configuration(values=point) for point in points))

    def sample(self, random: Random) -> Configuration:
        """A random point, which may violate constraints."""
        if self.combinations:
            return Configuration(values=random.choice(self.combinations))
        return self.pruned({p.name: _draw(p, random) for p in self.parameters})


def _draw(parameter: Parameter, random: Random) -> Value:
    domain = parameter.domain
    grid = domain.grid()
    if grid is not None:
        return random.choice(grid)
    assert isinstance(domain, FloatRange | IntRange)  # noqa: S101 - choices always have a grid
    if domain.log:
        return float(domain.low * (domain.high / domain.low) ** random.random())
    return random.uniform(domain.low, domain.high)
