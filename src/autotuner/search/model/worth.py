"""Objectives and SLOs of drawn results, by the rules of :mod:`autotuner.scoring`."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.plugins.search import SearchContext
from autotuner.scoring import worsened
from autotuner.search.model.encoding import Array, Units, by_place
from autotuner.search.model.model import Draws
from autotuner.search.model.observations import VIOLATION, objective_key
from autotuner.search.model.quantities import Key, shortfall_sign
from autotuner.study.metric import METRICS, Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.search.goals import Goals
from autotuner.study.trial import Trial


@dataclass(frozen=True)
class Worth:
    """Scores of drawn results."""

    objectives: Array
    """Logarithm by draw, configuration and objective; larger is better."""
    missed: Array
    """Sum of the logarithmic distances from hard SLOs that are missed, by draw and configuration; 0 if all hold."""

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether all hard SLOs hold, by draw and configuration."""
        found: NDArray[np.bool_] = self.missed <= 0
        return found


def worth(context: SearchContext, units: Units, draws: Draws) -> Worth:
    """Scores all draws."""
    goals = context.goals
    if goals is None:
        signs = np.array([_sign(d) for d in context.directions])
        own = [draws.logs[objective_key(i)].max(axis=2) for i in range(len(context.directions))]
        return Worth(np.stack(own, axis=2) * signs, np.maximum(draws.logs[VIOLATION].max(axis=2), 0.0))
    if goals.any_level:
        return _best_level(goals, units, draws)
    penalty = np.zeros(next(iter(draws.logs.values())).shape[:2])
    missed = np.zeros_like(penalty)
    for slo in _modeled(goals):
        over = np.where(_selected(units, slo.scenario, slo.at), _over(slo, draws), 0.0)
        if slo.hard:
            missed += over.sum(axis=2)
        else:
            relative = np.expm1(over) if shortfall_sign(slo) > 0 else -np.expm1(-over)
            penalty += slo.weight * relative.sum(axis=2)
    found = [_objective(o, units, draws.logs[Key(o.metric, o.statistic)]) for o in goals.objectives]
    signs = np.array([_sign(o.direction) for o in goals.objectives])
    return Worth(np.stack(found, axis=2) * signs - np.log1p(penalty)[:, :, None], missed)


def _best_level(goals: Goals, units: Units, draws: Draws) -> Worth:
    """The best level at which all hard SLOs hold, for the first objective; soft ones do not count."""
    objective = goals.objectives[0]
    value = _sign(objective.direction) * draws.logs[Key(objective.metric, objective.statistic)]
    missed = np.zeros_like(value)
    for slo in _modeled(goals):
        if slo.hard:
            missed += _over(slo, draws)
    exists = by_place(units.places, lambda p: bool(p.level)) > 0
    value = np.where((missed <= 0) & exists, value, -np.inf)
    least = np.where(exists, missed, np.inf).min(axis=2)
    return Worth(value.max(axis=2)[:, :, None], least)


def _modeled(goals: Goals) -> list[SLO]:
    """SLOs on modeled quantities, whose bounds have a logarithm."""
    return [s for s in goals.slos if not s.bounds_each_request and s.threshold > 0]


def _over(slo: SLO, draws: Draws) -> Array:
    """Logarithmic distance from an SLO that is missed, by draw, configuration and place; 0 where it holds."""
    values = draws.logs[Key(slo.metric, slo.statistic, slo.of)]
    found: Array = np.maximum(shortfall_sign(slo) * (values - math.log(slo.threshold)), 0.0)
    return found


def _objective(objective: Objective, units: Units, values: Array) -> Array:
    """The worst level of a latency, the mean of the logarithms of a rate."""
    selected = _selected(units, objective.scenario, objective.at)
    found: Array
    if objective.metric == "success_rate":
        found = np.where(selected, values, np.inf).min(axis=2)
    elif METRICS[objective.metric].better is Direction.MIN:
        found = np.where(selected, values, -np.inf).max(axis=2)
    else:
        found = np.where(selected, values, 0.0).sum(axis=2) / np.maximum(selected.sum(axis=1), 1)
    return found


def _selected(units: Units, scenario: str | None, at: str | None) -> NDArray[np.bool_]:
    return by_place(units.places, lambda p: scenario in (None, p.scenario) and at in (None, p.level)) > 0


def achieved(context: SearchContext, trial: Trial) -> list[float] | None:
    """Logarithms of a trial's objectives, larger is better; None if it is infeasible or cannot be ranked."""
    verdict = trial.verdict
    if verdict is None or not verdict.feasible or not verdict.rankable:
        return None
    if len(verdict.objectives) != len(context.directions):
        return None
    found = []
    for value, direction in zip(verdict.objectives, context.directions, strict=True):
        if value is None or not math.isfinite(value) or value <= 0:
            return None
        found.append(_sign(direction) * math.log(worsened(value, direction, verdict.penalty)))
    return found


def _sign(direction: Direction) -> int:
    return 1 if direction is Direction.MAX else -1
