"""The search space: parameters, and constraints between them."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import product
from math import prod
from random import Random

from pydantic import Field

from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import FloatRange, IntRange, Parameter


class Space(FrozenModel):
    """The configurations that a study may launch."""

    parameters: tuple[Parameter, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    combinations: tuple[Mapping[str, Value], ...] = ()
    """The points of the space, each with a value for every parameter; empty: all combinations of values."""
    known: Mapping[str, Value] = Field(default_factory=dict)
    """Values of names that constraints may use but that are not tuned: fixed arguments, catalog defaults, hardware."""

    @property
    def size(self) -> int | None:
        """Number of grid points without constraints; None if a range is continuous."""
        if self.combinations:
            return len(self.combinations)
        grids = [p.domain.grid() for p in self.parameters]
        return None if any(g is None for g in grids) else prod(len(g) for g in grids if g is not None)

    def allows(self, configuration: Configuration) -> bool:
        """Whether all constraints hold. A constraint with an unknown value counts as satisfied.

        A parameter that is left to the engine equals ``null``, and also its default if that is known.
        """
        given = {name: value for name, value in configuration.values.items() if value is not None}
        left_out = frozenset(name.replace("_", "-") for name in configuration.values if name not in given)
        names = {**configuration.values, **self.known, **given}
        if self.combinations and self._point(configuration).key not in self._listed:
            return False
        return all(c.holds(names, left_out) is not False for c in self.constraints)

    def _point(self, configuration: Configuration) -> Configuration:
        return Configuration(values={p.name: configuration.values.get(p.name) for p in self.parameters})

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(self._point(Configuration(values=point)).key for point in self.combinations)

    def contains(self, configuration: Configuration) -> bool:
        """Whether every parameter has a value in its domain and all constraints hold."""
        return (
            set(configuration.values) == {p.name for p in self.parameters}
            and all(p.domain.contains(configuration.values[p.name]) for p in self.parameters)
            and self.allows(configuration)
        )

    def grid(self) -> Iterator[Configuration]:
        """All allowed configurations in the order of the parameters. Raises ``ValueError`` for a continuous range."""
        if self.combinations:
            yield from filter(self.allows, (Configuration(values=point) for point in self.combinations))
            return
        grids = []
        for parameter in self.parameters:
            values = parameter.domain.grid()
            if values is None:
                raise ValueError(f"{parameter.name} is continuous")
            grids.append(values)
        names = [p.name for p in self.parameters]
        for values in product(*grids):
            configuration = Configuration(values=dict(zip(names, values, strict=True)))
            if self.allows(configuration):
                yield configuration

    def sample(self, random: Random) -> Configuration:
        """A random point, which may violate constraints."""
        if self.combinations:
            return Configuration(values=random.choice(self.combinations))
        return Configuration(values={p.name: _draw(p, random) for p in self.parameters})


def _draw(parameter: Parameter, random: Random) -> Value:
    domain = parameter.domain
    grid = domain.grid()
    if grid is not None:
        return random.choice(grid)
    assert isinstance(domain, FloatRange | IntRange)  # noqa: S101 - choices always have a grid
    if domain.log:
        return float(domain.low * (domain.high / domain.low) ** random.random())
    return random.uniform(domain.low, domain.high)
