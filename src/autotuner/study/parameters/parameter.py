"""Parameters: names, and the values that they may take."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, overload

from pydantic import Field

from autotuner.study.base import FrozenModel, Value, same


class Choices(FrozenModel):
    """Distinct values in the given order; ``True`` and ``1`` are distinct."""

    kind: Literal["choices"] = "choices"
    values: tuple[Value, ...] = Field(min_length=1)

    def grid(self) -> Sequence[Value]:
        """All values."""
        return self.values

    def contains(self, value: Value) -> bool:
        """Whether the value is one of these, with the same type."""
        return any(same(v, value) for v in self.values)


class IntRange(FrozenModel):
    """Integers from ``low`` to ``high``, inclusive."""

    kind: Literal["int"] = "int"
    low: int
    high: int
    step: int = Field(default=1, ge=1)
    log: bool = False
    """The grid doubles from ``low`` and always includes ``high``; samples are uniform in the logarithm."""

    def grid(self) -> Sequence[Value]:
        """All values of the range, computed on access."""
        if not self.log:
            return range(self.low, self.high + 1, self.step)
        values = [self.low]
        while values[-1] * 2 < self.high:
            values.append(values[-1] * 2)
        return tuple(values if values[-1] == self.high else [*values, self.high])

    def contains(self, value: Value) -> bool:
        """Whether the value lies on the grid."""
        return isinstance(value, int) and not isinstance(value, bool) and value in self.grid()


class Steps(Sequence[Value]):
    """The grid of a stepped float range, computed on access, so that a million steps need no memory."""

    def __init__(self, low: float, high: float, step: float) -> None:
        self._low = low
        self._step = step
        self._digits = max(0, 2 - math.floor(math.log10(step)) + 6)
        self._count = math.floor((high - low) / step + 1e-9) + 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Value]: ...
    def __getitem__(self, index: int | slice) -> Value | Sequence[Value]:
        positions = range(self._count)[index]
        return self._at(positions) if isinstance(positions, int) else [self._at(i) for i in positions]

    def _at(self, position: int) -> float:
        return round(self._low + position * self._step, self._digits)

    def position(self, value: float) -> int | None:
        """Index of a value; None if it is not on the grid."""
        near = round((value - self._low) / self._step)
        return near if 0 <= near < self._count and self._at(near) == value else None


class FloatRange(FrozenModel):
    """Real numbers from ``low`` to ``high``, inclusive."""

    kind: Literal["float"] = "float"
    low: float
    high: float
    step: float | None = Field(default=None, gt=0)
    """Distance between grid points; None for a continuous range, which has no grid."""
    log: bool = False

    def grid(self) -> Steps | None:
        """All values, rounded to the step's digits (0.7, not 0.7000000001); None for a continuous range."""
        return None if self.step is None else Steps(self.low, self.high, self.step)

    def contains(self, value: Value) -> bool:
        """Whether the value lies in the range, and on its grid if it has one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        grid = self.grid()
        return self.low <= value <= self.high if grid is None else grid.position(value) is not None


Domain = Annotated[Choices | IntRange | FloatRange, Field(discriminator="kind")]


class Parameter(FrozenModel):
    """A tuned launch parameter, named like the engine's flag without leading dashes (``tp-size``)."""

    name: str
    domain: Domain
    when: str = ""
    """Condition on other parameters under which this one is active (a constraint's text); empty: always. A
    configuration has no value for an inactive parameter."""
    combinations: Mapping[str, Mapping[str, Value]] = Field(default_factory=dict)
    """The flags that each value stands for, if the values are names of combinations; ``name`` is then not a flag."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the flags and variables that this parameter sets."""
        if not self.combinations:
            return (self.name,)
        return tuple(dict.fromkeys(flag for point in self.combinations.values() for flag in point))

    @property
    def listed(self) -> tuple[Mapping[str, Value], ...]:
        """What each listed value sets; empty for a range."""
        return tuple(map(self.set_by, self.domain.values)) if isinstance(self.domain, Choices) else ()

    def set_by(self, value: Value) -> Mapping[str, Value]:
        """The flags and variables that one value stands for."""
        if not self.combinations:
            return {self.name: value}
        return self.combinations.get(value, {}) if isinstance(value, str) else {}

    def default(self, defaults: Mapping[str, Value]) -> Value:
        """The parameter's default, given the defaults of flags; None if it is unknown. For combinations, this is the
        first one whose flags all have their defaults."""
        if not self.combinations:
            return defaults.get(self.name)
        own = (n for n, flags in self.combinations.items() if all(same(defaults.get(f), v) for f, v in flags.items()))
        return next(own, None)


def as_flags(parameters: Iterable[Parameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """Tuned values with named combinations replaced by the flags and variables that they stand for."""
    combined = {p.name: p for p in parameters if p.combinations}
    found: dict[str, Value] = {}
    for name, value in values.items():
        found |= combined[name].set_by(value) if name in combined else {name: value}
    return found


class ValueType(FrozenModel):
    """Type and bounds of a flag's values in a catalog."""

    kind: Literal["int", "float", "bool", "string", "choice"]
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


Several = Literal["no", "arguments", "occurrences"]
"""How a flag takes several values: not at all, as consecutive arguments (``--sizes 1 2 4``), or by repeating the flag
(``--lora a --lora b``)."""


class CatalogEntry(FrozenModel):
    """A flag of an engine."""

    name: str
    """Canonical name without dashes, hyphenated: ``ubatch-size``."""
    type: ValueType
    default: Value = None
    """The engine's default; None if it is computed at start."""
    several: Several = "no"
    """Whether the flag takes several values; ``type`` is then the type of each."""
    meaning: str
    """Description for users."""
    aliases: tuple[str, ...] = ()
    """Other spellings: short flags, older names."""
    off_flag: str | None = None
    """Flag that turns off a switch that is on by default (``no-cont-batching``)."""
    suggested: tuple[Value, ...] = ()
    """Values worth trying, which ``init`` writes into a new study."""
