"""Configurations and load levels as columns of numbers, in which every modeled effect is linear."""

import math
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotuner.plugins.search import SearchContext
from autotuner.search.ages import Ages
from autotuner.search.model import scales
from autotuner.search.model.scales import Scales
from autotuner.search.points import Axis, Points
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.search.evidence import EarlierTrial
from autotuner.study.search.goals import Place

Array = NDArray[np.float64]
Index = NDArray[np.int_]
FIXED = -1
"""Number of the part of columns whose scale is not learned."""

_MOST_KNOWN = 5000
"""Most configurations whose numbers are kept."""
_Row = tuple[list[float], list[float], int]
"""Ordered parameters, codes of unordered ones, and the number of parameters whose value is unknown."""
_ONLY = Place(scenario="", level="")
"""Stands for all levels if a search knows only the verdicts of trials."""


@dataclass(frozen=True)
class Units:
    """Configurations with the levels at which they are measured; one row each."""

    configurations: tuple[Configuration, ...]
    numbers: Array
    """Ordered parameters, each from -0.5 to 0.5 over its range."""
    codes: Array
    """1 in the column of each unordered parameter's value."""
    unknown: Array
    """Number of parameters whose value is unknown, per row."""
    counts: tuple[int, ...]
    """GPUs per row."""
    gpus: Array
    """Base-2 logarithm of ``counts``, relative to a medium number of GPUs."""
    places: tuple[tuple[Place, ...], ...]
    loads: Array
    """Base-2 logarithm of the load relative to a medium one, by row and place."""
    ages: Array
    """Age of the engine's release, per row (see :mod:`autotuner.search.ages`)."""
    scenarios: NDArray[np.int_]
    """Index of the scenario, by row and place; one more than the last for a scenario that the study does not have."""
    servers: tuple[str, ...]
    """Identity of what is launched, per row."""
    others: tuple[tuple[str, ...], ...] = ()
    """Per row of an earlier study, what no column says about it."""

    def __len__(self) -> int:
        return len(self.configurations)


class Encoder:
    """Turns configurations of one space into columns."""

    def __init__(
        self,
        context: SearchContext,
        typical: Sequence[Configuration],
        unpredicted: Set[str] = frozenset(),
    ) -> None:
        """An encoder for the space of a search.

        Args:
            context: The problem.
            typical: Configurations whose loads and GPUs count as medium.
            unpredicted: Parameters that predictions do not depend on (see :mod:`autotuner.search.unpredicted`).
        """
        self._context = context
        self._unpredicted = unpredicted
        self._known: dict[str, _Encoded] = {}
        self._all_axes = [a for a in Points(context.space).axes if a.name not in context.load_parameters]
        self._axes = [a for a in self._all_axes if a.values is None or len(a.values) > 1]
        self._ordered = [_Scale(a) for a in self._axes if a.ordered]
        self._unordered = [a for a in self._axes if not a.ordered]
        self._fixed = context.goals.places if context.goals and context.goals.places else (_ONLY,)
        own = [self._places(c) for c in typical]
        self.levels = max(map(len, own), default=len(self._fixed))
        """Number of levels at which a configuration is measured."""
        places = [p for found in own for p in found] or list(self._fixed)
        self._medium_load = float(np.mean([math.log2(p.load) for p in places]))
        counts = [context.gpus(c) for c in typical] or [1]
        self._medium_gpus = float(np.mean([math.log2(max(n, 1)) for n in counts]))
        self._ages = Ages(context.release(c) for c in typical)
        self._scenarios = {name: i for i, name in enumerate(dict.fromkeys(p.scenario for p in places))}
        self._conditional = [p.name for p in context.space.tree.conditional if p.name not in context.load_parameters]
        self._codes = sum(len(a.values or ()) for a in self._unordered) + len(self._conditional)
        random = np.random.default_rng([abs(context.seed), 271])
        # Frequencies of a Matern 5/2 kernel are Student-distributed with five degrees of freedom.
        width = len(self._ordered) + self._codes + 1 + len(self._scenarios)
        normal = random.standard_normal((width, scales.FREQUENCIES))
        self._frequencies = normal / np.sqrt(random.chisquare(5, scales.FREQUENCIES) / 5)
        self._phases = random.uniform(0, 2 * math.pi, scales.FREQUENCIES)

    def units(self, configurations: Sequence[Configuration]) -> Units:
        """The configurations as rows."""
        found = [self._encoded(c) for c in configurations]
        return self._units(
            configurations,
            [e.row for e in found],
            [e.places for e in found],
            [e.gpus for e in found],
            [e.server for e in found],
            [e.age for e in found],
        )

    def _encoded(self, configuration: Configuration) -> "_Encoded":
        """The configuration in numbers. They are kept, because most candidates are the same for many proposals and what
        the engine says about them takes time."""
        found = self._known.get(configuration.key)
        if found is None:
            found = _Encoded(
                row=self._row(configuration),
                places=tuple(self._places(configuration)),
                gpus=self._context.gpus(configuration),
                server=self._server(configuration),
                age=self._age(configuration),
            )
            if len(self._known) == _MOST_KNOWN:
                self._known.clear()
            self._known[configuration.key] = found
        return found

    def _units(
        self,
        configurations: Sequence[Configuration],
        rows: Sequence[_Row],
        own_places: Sequence[tuple[Place, ...]],
        counts: Sequence[int],
        servers: Sequence[str],
        ages: Sequence[float],
    ) -> Units:
        places = _padded(own_places)
        count = len(configurations)
        loads = by_place(places, lambda p: math.log2(p.load) - self._medium_load)
        scenarios = by_place(places, lambda p: self._scenarios.get(p.scenario, len(self._scenarios)))
        return Units(
            configurations=tuple(configurations),
            numbers=np.array([r[0] for r in rows], float).reshape(count, len(self._ordered)),
            codes=np.array([r[1] for r in rows], float).reshape(count, self._codes),
            unknown=np.array([r[2] for r in rows], float),
            counts=tuple(counts),
            gpus=np.array([math.log2(max(n, 1)) - self._medium_gpus for n in counts], float),
            places=places,
            loads=loads,
            ages=np.array(ages, float),
            scenarios=scenarios.astype(int),
            servers=tuple(servers),
        )

    def earlier(self, trials: Sequence[EarlierTrial]) -> Units:
        """Launches of earlier studies as rows. Their servers have no identity if the present study cannot start them,
        and what no column says about them is among the ``others``."""
        found = [t.configuration or self._in_space(t) for t in trials]
        units = self._units(
            found,
            [self._row(c) for c in found],
            [tuple(w.place for w in t.windows) for t in trials],
            [t.gpus for t in trials],
            [self._server(t.configuration) if t.configuration else "" for t in trials],
            [self._age(c) for c in found],
        )
        others = [(*self._others(c, t), *t.unlike) for c, t in zip(found, trials, strict=True)]
        return replace(units, others=tuple(others), unknown=np.zeros(len(units)))

    def _in_space(self, trial: EarlierTrial) -> Configuration:
        """What a launch set, as far as the space has a parameter for it that is active then."""
        names = [p.name for p in self._context.space.parameters]
        return self._context.space.pruned({name: trial.values[name] for name in names if name in trial.values})

    def _others(self, configuration: Configuration, trial: EarlierTrial) -> Iterator[str]:
        """Values of parameters that have no column, and parameters whose value is not known."""
        known = configuration.values
        for axis in self._all_axes:
            if axis.name not in known:
                if axis.name not in self._conditional:
                    yield f"{axis.name}?"
            elif not (axis.ordered and axis in self._axes) and axis.position(known[axis.name]) is None:
                yield f"{axis.name}={known[axis.name]}"

    def columns(self, units: Units, rows: NDArray[np.int_], places: NDArray[np.int_]) -> Array:
        """The columns of some levels of some units, one row each."""
        numbers = units.numbers[rows]
        codes = units.codes[rows]
        load = units.loads[rows, places][:, None]
        known = len(self._scenarios)
        scenario = np.eye(known + 1, known)[units.scenarios[rows, places]]
        ones = np.ones((len(rows), 1))
        inputs = [numbers / scales.LENGTH, codes * math.sqrt(0.5), load / scales.LOAD_LENGTH, scenario * math.sqrt(0.5)]
        waves = np.cos(np.hstack(inputs) @ self._frequencies + self._phases) * math.sqrt(2 / scales.FREQUENCIES)
        bends = [scale.bends(units.numbers[:, i])[rows] for i, scale in enumerate(self._ordered)]
        gpus = units.gpus[rows][:, None]
        return np.hstack([ones, load, gpus, numbers, codes, codes * load, scenario, *bends, waves])

    def deviations(self, own: Scales) -> Array:
        """Prior standard deviation of the weight of each column; of parameters that predictions do not depend on, as
        without predictions."""
        found = self._deviations(own)
        if own == scales.PREDICTED and self._unpredicted:
            numbers = [n for name, n in self._numbers().items() if name in self._unpredicted]
            found = np.where(np.isin(self.parts(), numbers), self._deviations(scales.STRUCTURED), found)
        return found

    def _deviations(self, s: Scales) -> Array:
        bends = sum(len(scale.knots) for scale in self._ordered)
        several = s.scenario if len(self._scenarios) > 1 else 0.0
        parts = [
            ([s.offset, s.load, s.gpus], 1),
            ([s.slope], len(self._ordered)),
            ([s.value], self._codes),
            ([s.value_load], self._codes),
            ([several], len(self._scenarios)),
            ([s.main], bends),
            ([s.smooth], scales.FREQUENCIES),
        ]
        return np.array([v for values, count in parts for v in values * count], float)

    def parts(self) -> NDArray[np.int_]:
        """Number of the part of the model that each column belongs to (see :mod:`relevance`): the load, the GPUs, the
        effect of each parameter, and the interactions of all."""
        number = self._numbers()
        slopes = [number[s.name] for s in self._ordered]
        codes = [number[a.name] for a in self._unordered for _ in a.values or ()]
        codes += [number[name] for name in self._conditional]
        scenarios = [FIXED] * len(self._scenarios)
        bends = [number[s.name] for s in self._ordered for _ in s.knots]
        waves = [2 + len(number)] * scales.FREQUENCIES
        return np.array([FIXED, 0, 1, *slopes, *codes, *codes, *scenarios, *bends, *waves], int)

    def _numbers(self) -> dict[str, int]:
        """Number of the part of each parameter."""
        names = [s.name for s in self._ordered] + [a.name for a in self._unordered] + self._conditional
        return {name: 2 + i for i, name in enumerate(dict.fromkeys(names))}

    def _places(self, configuration: Configuration) -> Sequence[Place]:
        return self._context.places(configuration) if self._context.places else self._fixed

    def _server(self, configuration: Configuration) -> str:
        load = self._context.load_parameters
        if not load:
            return self._context.identity(configuration)
        return Configuration(values={k: v for k, v in configuration.values.items() if k not in load}).key

    def _age(self, configuration: Configuration) -> float:
        return self._ages.of(self._context.release(configuration))

    def _row(self, configuration: Configuration) -> _Row:
        values = configuration.values
        # Only a default or a baseline leaves parameters to the engine that every other configuration sets.
        unknown = sum(not values or (a.name not in values and a.name not in self._conditional) for a in self._axes)
        numbers = [scale.at(values.get(scale.name)) for scale in self._ordered]
        codes: list[float] = []
        for axis in self._unordered:
            position = axis.position(values[axis.name]) if axis.name in values else None
            codes += [float(i == position) for i in range(len(axis.values or ()))]
        # For a conditional parameter, being inactive is a value of its own.
        codes += [float(bool(values) and name not in values) for name in self._conditional]
        return numbers, codes, unknown


@dataclass(frozen=True)
class _Encoded:
    """One configuration in numbers."""

    row: _Row
    places: tuple[Place, ...]
    gpus: int
    server: str
    age: float


class _Scale:
    """An ordered parameter from -0.5 to 0.5; logarithmic where its values are positive and span a factor of four."""

    def __init__(self, axis: Axis) -> None:
        self.name = axis.name
        low, high = axis.ends
        self._log = low > 0 and high >= 4 * low
        self._low = math.log(low) if self._log else low
        self._span = (math.log(high) if self._log else high) - self._low or 1.0
        few = axis.values is not None and len(axis.values) <= scales.KNOTS
        listed = [self.at(v) for v in axis.values] if few and axis.values is not None else []
        self.knots: Array = np.array(listed if few else np.linspace(-0.5, 0.5, scales.KNOTS), float)
        root = np.linalg.cholesky(_matern(self.knots, self.knots) + 1e-9 * np.eye(len(self.knots)))
        self._inverse: Array = np.linalg.inv(root).T.astype(np.float64)

    def at(self, value: Value) -> float:
        """Position of a value; the middle if it is unknown."""
        if isinstance(value, bool) or not isinstance(value, int | float) or (self._log and value <= 0):
            return 0.0
        number = math.log(value) if self._log else float(value)
        return min(max((number - self._low) / self._span - 0.5, -1.0), 1.0)

    def bends(self, positions: Array) -> Array:
        """Columns whose weights are independent and make up a smooth function of the positions."""
        found: Array = _matern(positions, self.knots) @ self._inverse
        return found


def _padded(places: Sequence[tuple[Place, ...]]) -> tuple[tuple[Place, ...], ...]:
    """The same number of places in each row: repeating the last one leaves the best and the worst level unchanged."""
    width = max(map(len, places), default=1)
    return tuple(own if len(own) == width else (*own, *(own[-1:] * (width - len(own)))) for own in places)


def by_place(places: Sequence[tuple[Place, ...]], value: Callable[[Place], float]) -> Array:
    """A number for each place of each row."""
    return _by_row(places, lambda own: [float(value(p)) for p in own])


def first_positions(places: Sequence[tuple[Place, ...]]) -> NDArray[np.int_]:
    """For each place of each row, where in the row it comes first."""
    return _by_row(places, lambda own: [own.index(p) for p in own]).astype(int)


def _by_row(places: Sequence[tuple[Place, ...]], values: Callable[[tuple[Place, ...]], Sequence[float]]) -> Array:
    """Most rows have the same places, for which the values are computed once."""
    if places and all(own is places[0] for own in places):
        return np.tile(np.array(values(places[0]), float), (len(places), 1))
    numbers: dict[int, int] = {}
    different: list[Sequence[float]] = []
    for own in places:
        if id(own) not in numbers:
            numbers[id(own)] = len(different)
            different.append(values(own))
    width = len(places[0]) if places else 1
    found: Array = np.array(different, float).reshape(len(different), width)[[numbers[id(own)] for own in places]]
    return found


def _matern(a: Array, b: Array) -> Array:
    distance = math.sqrt(5) * np.abs(a[:, None] - b[None]) / scales.LENGTH
    kernel: Array = (1 + distance + distance**2 / 3) * np.exp(-distance)
    return kernel
