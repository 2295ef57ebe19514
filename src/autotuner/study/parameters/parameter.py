"""What is tuned: a parameter's name and the values it may take."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, overload

from pydantic import Field

from autotuner.study.base import Noun, Value, same


class Choices(Noun):
    """A list of values, in the order given. Distinct; ``True`` and ``1`` are distinct values."""

    kind: Literal["choices"] = "choices"
    values: tuple[Value, ...] = Field(min_length=1)

    def grid(self) -> Sequence[Value]:
        """All values."""
        return self.values

    def contains(self, value: Value) -> bool:
        """Whether the value is one of these, type included."""
        return any(same(v, value) for v in self.values)


class IntRange(Noun):
    """Whole numbers from ``low`` to ``high``, both included."""

    kind: Literal["int"] = "int"
    low: int
    high: int
    step: int = Field(default=1, ge=1)
    log: bool = False
    """Grid by doubling from ``low``; ``high`` is always included. Samples uniformly in the exponent."""

    def grid(self) -> Sequence[Value]:
        """All values of the range, not materialised (log: powers of two times ``low``, and ``high``)."""
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
    """The grid of a stepped float range, computed one by one: a million steps cost no more than one."""

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
        """Where a value stands; None where it is not on the grid."""
        near = round((value - self._low) / self._step)
        return near if 0 <= near < self._count and self._at(near) == value else None


class FloatRange(Noun):
    """Real numbers from ``low`` to ``high``, both included."""

    kind: Literal["float"] = "float"
    low: float
    high: float
    step: float | None = Field(default=None, gt=0)
    """Distance of grid points; None is a continuous range, which has no grid."""
    log: bool = False

    def grid(self) -> Steps | None:
        """All values, or None for a continuous range; rounded to the step's digits (0.7, never 0.7000000001)."""
        return None if self.step is None else Steps(self.low, self.high, self.step)

    def contains(self, value: Value) -> bool:
        """Whether the value lies in the range, and on its grid if it has one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        grid = self.grid()
        return self.low <= value <= self.high if grid is None else grid.position(value) is not None


Domain = Annotated[Choices | IntRange | FloatRange, Field(discriminator="kind")]


class Parameter(Noun):
    """A tuned launch parameter, under the engine's own flag name without dashes in front (``tp-size``)."""

    name: str
    domain: Domain


class ValueType(Noun):
    """What a catalog says of a flag's values."""

    kind: Literal["int", "float", "bool", "string", "choice"]
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


Several = Literal["no", "arguments", "occurrences"]
"""How a flag takes several values: not at all, as arguments in a row (``--sizes 1 2 4``), or as one flag each
(``--lora a --lora b``)."""


class CatalogEntry(Noun):
    """What is known of one flag of an engine."""

    name: str
    """Canonical name without dashes, hyphenated: ``ubatch-size``."""
    type: ValueType
    default: Value = None
    """The engine's own default; None where it is computed at start."""
    several: Several = "no"
    """The type is that of each value where there may be several."""
    meaning: str
    aliases: tuple[str, ...] = ()
    """Other spellings that people write: short flags, older names."""
    off_flag: str | None = None
    """For switches that are on by default: the flag that turns them off (``no-cont-batching``)."""
    suggested: tuple[Value, ...] = ()
    """Values worth trying; used by ``init``."""
