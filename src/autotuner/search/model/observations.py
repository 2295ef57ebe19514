"""Observed logarithms of every quantity, one row per window of a trial."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.plugins.search import SearchContext
from autotuner.scoring import worsened
from autotuner.search.model import scales
from autotuner.search.model.encoding import Units
from autotuner.search.model.posterior import Observations
from autotuner.search.model.quantities import Key, Quantity, clipped, observed
from autotuner.search.proposals import spelled_out
from autotuner.study.configuration import Configuration
from autotuner.study.measurement import Measurement
from autotuner.study.metric import Direction
from autotuner.study.objective import metric_text
from autotuner.study.search.goals import Place
from autotuner.study.trial import Trial, TrialState
from autotuner.study.verdict import Verdict

VIOLATION = Key("violation")
"""Stands for the size of the violations, where only verdicts are known."""
_MOST_WINDOWS = 500
"""Most windows per quantity; beyond that, trials far from the best ones keep only their outermost levels."""
_KEPT = 40
"""Best trials, and newest ones, that keep all their levels."""
_HALF_WIDTH_SDS = 1.96
"""Standard deviations in half of a 95% interval."""


def objective_key(index: int) -> Key:
    """Stands for an objective, where only verdicts are known."""
    return Key(f"objective {index}")


def verdict_quantities(objectives: int) -> tuple[Quantity, ...]:
    """What is modeled if a search knows only the verdicts of trials."""
    return (*(Quantity(objective_key(i)) for i in range(objectives)), Quantity(VIOLATION, center=0.0, factor=0.5))


@dataclass(frozen=True)
class Seen:
    """Finished trials whose windows count, with the configuration of each as a row of ``units``."""

    trials: tuple[Trial, ...]
    rows: tuple[int, ...]
    """Row of each trial."""
    configurations: tuple[Configuration, ...]
    """Of each row."""


def seen(context: SearchContext, trials: Sequence[Trial]) -> Seen:
    """Those of the finished trials that have values."""
    rows: dict[str, int] = {}
    found: list[Configuration] = []
    used: list[tuple[Trial, int]] = []
    for trial in trials:
        if trial.state is not TrialState.DONE or trial.verdict is None:
            continue
        configuration = spelled_out(context, trial)
        identity = context.identity(configuration)
        if identity not in rows:
            rows[identity] = len(rows)
            found.append(configuration)
        used.append((trial, rows[identity]))
    return Seen(tuple(t for t, _ in used), tuple(r for _, r in used), tuple(found))


@dataclass(frozen=True)
class Rows:
    """Observations of one quantity, with the row and place of each."""

    units: list[int]
    places: list[int]
    observations: Observations


_Row = tuple[int, int, float, float, int, bool]
"""Row of the unit, place, value, variance, number of the launch, whether it is a bound."""
_Window = tuple[int, float, float, bool]
"""Place, value, variance, whether it is a bound."""


class Windows:
    """The values of trials. They are kept from proposal to proposal, because reading those of hundreds of trials takes
    as long as fitting a model to them."""

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        self._known: dict[tuple[Key, int], tuple[Trial, list[_Window]]] = {}

    def of(self, quantity: Quantity, trial: Trial, places: Sequence[Place]) -> list[_Window]:
        """The values of one quantity in a trial that was measured at ``places``."""
        key = (quantity.key, trial.number)
        known = self._known.get(key)
        if known is None or known[0] is not trial:
            known = self._known[key] = (trial, self._read(quantity, trial, places))
        return known[1]

    def _read(self, quantity: Quantity, trial: Trial, places: Sequence[Place]) -> list[_Window]:
        if self._context.goals is None:
            verdict = trial.verdict
            assert verdict is not None  # noqa: S101 - see seen
            return _of_verdict(quantity, verdict, self._context)
        if trial.measurements:
            return [w for m in trial.measurements for w in _of_window(quantity, m, places, trial.gpus)]
        looked = [w for m in trial.looks for w in _of_window(quantity, m, places, trial.gpus)]  # one of them ended it
        return [(at, y, spread + scales.LOOK**2, bound) for at, y, spread, bound in looked]


def observe(context: SearchContext, quantity: Quantity, known: Seen, units: Units, read: Windows) -> Rows:
    """All observations of one quantity."""
    found: list[_Row] = []
    for launch, (trial, row) in enumerate(zip(known.trials, known.rows, strict=True)):
        windows = read.of(quantity, trial, units.places[row])
        variance = (scales.UNKNOWN_VALUE * float(units.unknown[row])) ** 2
        found += [(row, at, y, spread + variance, launch, bound) for at, y, spread, bound in windows]
    kept = _capped(found, _priority(known.trials, context.directions))
    return Rows(
        units=[r[0] for r in kept],
        places=[r[1] for r in kept],
        observations=Observations(
            values=np.array(clipped([r[2] for r in kept]), float),
            variances=np.array([r[3] for r in kept], float),
            launches=np.array([r[4] for r in kept], int),
            bounded=np.array([r[5] for r in kept], bool),
        ),
    )


def _of_window(quantity: Quantity, m: Measurement, places: Sequence[Place], gpus: int) -> list[_Window]:
    at = next((i for i, p in enumerate(places) if (p.scenario, p.level) == (m.scenario, m.level.text)), None)
    if at is None or m.self_check.client_limited:
        return []
    value = observed(quantity, m, places[at], gpus)
    key = quantity.key
    if value is not None:
        return [(at, value, _variance(m.uncertainty.get(metric_text(key.metric, key.statistic))), False)]
    bound = m.bounds.get(key.metric)
    return [(at, math.log(bound), scales.NOISE_FLOOR**2, True)] if bound and quantity.predicted else []


def _of_verdict(quantity: Quantity, verdict: Verdict, context: SearchContext) -> list[_Window]:
    floor = scales.NOISE_FLOOR**2
    if quantity.key == VIOLATION:
        if verdict.feasible:  # of a trial that was cut, only as far as it was measured
            return [] if verdict.cut else [(0, 0.0, floor, True)]
        return [(0, math.log1p(verdict.total_violation), floor, False)]
    index = next(i for i in range(len(context.directions)) if objective_key(i) == quantity.key)
    direction = context.directions[index]
    value = verdict.objectives[index] if index < len(verdict.objectives) else None
    if value is not None and value > 0 and (verdict.rankable or verdict.cut or not verdict.feasible):
        half = verdict.uncertainty[index] if index < len(verdict.uncertainty) else None
        return [(0, math.log(worsened(value, direction, verdict.penalty)), _variance(half), False)]
    # A cut trial's worst latency so far is a bound from below, which the model does not know.
    bound = verdict.bounds[index] if index < len(verdict.bounds) and direction is Direction.MAX else None
    return [(0, math.log(bound), floor, True)] if bound and bound > 0 else []


def _variance(half: float | None) -> float:
    """Variance of a logarithm from half of a relative 95% interval, which may be unknown."""
    own = math.log1p(half) / _HALF_WIDTH_SDS if half else 0.0
    return max(own, scales.NOISE_FLOOR) ** 2


def _capped(rows: list[_Row], priority: Sequence[int]) -> list[_Row]:
    """At most ``_MOST_WINDOWS`` rows: only the ends of the levels of trials that are neither new nor good.

    Args:
        rows: By launch.
        priority: All launches, those first whose rows are kept first.
    """
    if len(rows) <= _MOST_WINDOWS:
        return rows
    full = set(priority[: 2 * _KEPT])
    ends: dict[int, list[int]] = {}
    for _, place, _, _, launch, _ in rows:
        ends.setdefault(launch, []).append(place)
    kept = [r for r in rows if r[4] in full or r[1] in {min(ends[r[4]]), max(ends[r[4]])}]
    at = {launch: index for index, launch in enumerate(priority)}
    first = sorted(kept, key=lambda r: at[r[4]])[:_MOST_WINDOWS]
    return sorted(first, key=lambda r: r[4])


def _priority(trials: Sequence[Trial], directions: Sequence[Direction]) -> list[int]:
    """All trials by index, alternately the next best and the next newest one.

    Feasible ones come first, by their best rank in any objective, then the others, by their violations.
    """
    verdicts = {i: trial.verdict for i, trial in enumerate(trials) if trial.verdict is not None}
    feasible = [i for i, verdict in verdicts.items() if verdict.feasible]
    places: dict[int, int] = {}
    for objective, direction in enumerate(directions):
        costs = {i: _cost(verdicts[i], objective, direction) for i in feasible}
        for index, i in enumerate(sorted(feasible, key=costs.__getitem__)):
            places[i] = min(index, places.get(i, index))
    best = sorted(verdicts, key=lambda i: (not verdicts[i].feasible, verdicts[i].total_violation, places.get(i, 0)))
    return list(dict.fromkeys(i for pair in zip(best, reversed(range(len(trials))), strict=False) for i in pair))


def _cost(verdict: Verdict, objective: int, direction: Direction) -> float:
    """An objective's value with penalty as something to minimize; infinite if it is unknown or does not count."""
    value = verdict.objectives[objective] if objective < len(verdict.objectives) else None
    if value is None or not verdict.rankable:
        return math.inf
    worse = worsened(value, direction, verdict.penalty)
    return worse if direction is Direction.MIN else -worse
