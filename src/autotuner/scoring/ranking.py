"""Ranking of trials: feasible ones above infeasible ones, whatever their figures.

Groups, best first: feasible; feasible but not rankable (the load generator was the bottleneck, a
window was too thin, or an objective has no value); infeasible; failed.
Among infeasible trials, the number of values that were not measured counts before the size of violations, so that
skipping a bad level never pays; those that were cut come last, because levels that were left out may violate more.
Several objectives are ranked by front (non-dominated first), then by their geometric mean, which does not depend on
other trials and agrees with dominance. Trial numbers break ties.
"""

import math
from collections.abc import Sequence

from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.trial import Trial, TrialState
from autotuner.study.verdict import Verdict

FEASIBLE, UNRANKABLE, INFEASIBLE, FAILED, UNFINISHED = range(5)
_TINY = 1e-300

RankKey = tuple[int, float, float, int]
"""(group, primary key, secondary key, trial number); smaller is better."""


def rank_key(trial: Trial, objectives: Sequence[Objective]) -> RankKey:
    """Sorting key; smaller is better. It ignores the fronts of several objectives; see :func:`rank`."""
    group = _group(trial)
    verdict = trial.verdict
    if verdict is None or group >= FAILED:
        return (group, 0.0, 0.0, trial.number)
    if group == INFEASIBLE:
        unmeasured = sum(v.hard and v.value is None for v in verdict.violations)
        return (group, math.inf if verdict.cut else float(unmeasured), verdict.total_violation, trial.number)
    cost = log_cost(verdict, objectives)
    return (group, math.inf if cost is None else cost, verdict.penalty, trial.number)


def rank(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Sorts trials, best first, independently of their given order."""
    if len(objectives) < 2:
        return sorted(trials, key=lambda t: rank_key(t, objectives))
    fronts = _fronts([t for t in trials if _group(t) == FEASIBLE], objectives)

    def key(trial: Trial) -> tuple[int, int, RankKey]:
        return (_group(trial), fronts.get(trial.number, 0), rank_key(trial, objectives))

    return sorted(trials, key=key)


def pareto(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The feasible, rankable trials that no other trial dominates, in rank order."""
    feasible = [t for t in trials if _group(t) == FEASIBLE]
    fronts = _fronts(feasible, objectives)
    return rank([t for t in feasible if fronts[t.number] == 0], objectives)


def ties(best: Trial, trials: Sequence[Trial], objectives: Sequence[Objective], noise: float) -> list[Trial]:
    """The feasible, rankable trials that are as good as the best one within noise, neither worse nor better.

    Args:
        best: The best trial by all that is known, which is included; others may have been measured better.
        trials: All trials.
        objectives: The study's objectives.
        noise: Largest relative difference in every objective, e.g. 0.03; :func:`autotuner.scoring.noise_of` estimates
            it from repeats.

    Returns:
        Trials in rank order.
    """
    found = costs(best.verdict, objectives)
    if found is None:
        return []
    feasible = [t for t in rank(trials, objectives) if _group(t) == FEASIBLE]
    return [t for t in feasible if _within(costs(t.verdict, objectives), found, noise)]


def log_cost(verdict: Verdict | None, objectives: Sequence[Objective]) -> float | None:
    """A single number to minimize: the mean of the logarithms of the costs, so that a difference of 0.1 is about 10%.
    None if an objective was not measured."""
    found = costs(verdict, objectives)
    return None if found is None else math.fsum(math.log(max(c, _TINY)) for c in found) / len(found)


def worsened(value: float, direction: Direction, penalty: float) -> float:
    """The value of an objective, worsened by the factor ``1 + penalty`` for missed soft SLOs."""
    if value < 0:  # the same factors, turned so that the value still becomes worse
        return value / (1 + penalty) if direction is Direction.MIN else value * (1 + penalty)
    return value * (1 + penalty) if direction is Direction.MIN else value / (1 + penalty)


def _within(costs: tuple[float, ...] | None, best: tuple[float, ...], noise: float) -> bool:
    if costs is None:
        return False
    return all(max(c, b) <= min(c, b) * (1 + noise) for c, b in zip(costs, best, strict=True))


def _group(trial: Trial) -> int:
    if trial.state is TrialState.FAILED:
        return FAILED
    if trial.state is not TrialState.DONE:
        return UNFINISHED
    if trial.verdict is None:
        return FAILED
    if not trial.verdict.feasible:
        return INFEASIBLE
    return FEASIBLE if trial.verdict.rankable else UNRANKABLE


def costs(verdict: Verdict | None, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The objectives as numbers to minimize, including the penalty of missed soft SLOs; a rate becomes its inverse.
    None if one was not measured."""
    if verdict is None or len(verdict.objectives) != len(objectives):
        return None
    found = []
    for objective, value in zip(objectives, verdict.objectives, strict=True):
        if value is None or not math.isfinite(value):
            return None
        worse = worsened(value, objective.direction, verdict.penalty)
        found.append(worse if objective.direction is Direction.MIN else 1 / max(worse, _TINY))
    return tuple(found)


def _fronts(trials: Sequence[Trial], objectives: Sequence[Objective]) -> dict[int, int]:
    """The front of each trial by its number; trials of front 0 are not dominated by any other."""
    left = {t.number: costs(t.verdict, objectives) or (math.inf,) * len(objectives) for t in trials}
    fronts: dict[int, int] = {}
    while left:
        first = [n for n, own in left.items() if not any(_dominates(other, own) for other in left.values())]
        depth = 1 + max(fronts.values(), default=-1)
        for number in first:
            fronts[number] = depth
            del left[number]
    return fronts


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
