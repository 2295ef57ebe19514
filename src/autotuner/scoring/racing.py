"""Whether a trial of which some levels are not measured yet has already lost.

Only what is certain counts. An SLO that is missed at one level is missed by the trial. A worst latency can only become
worse with further levels, and so can the penalty for soft SLOs; a mean of rates may still become anything. The proof
launches the best ``keep`` trials of the search, so a trial has lost once that many are better, not once the best is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.scoring.ranking import costs, rank
from autotuner.study.objective import Objective
from autotuner.study.search.cut import CutReason
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict


@dataclass(frozen=True)
class Lost:
    """Why a trial has lost."""

    reason: CutReason
    rivals: tuple[Trial, ...]
    """The trials that it cannot beat, best first."""


def lost(
    verdict: Verdict, objectives: Sequence[Objective], trials: Sequence[Trial], *, keep: int, itself: int
) -> Lost | None:
    """Whether a trial has lost, whatever its other levels show.

    Args:
        verdict: Of its levels so far, with the bounds of objectives that depend on others.
        objectives: The study's objectives.
        trials: Trials of the study; only those that were measured completely are compared.
        keep: Number of trials of the search that the proof launches.
        itself: Number of the trial.
    """
    complete = [t for t in trials if t.number != itself and t.role is not TrialRole.CONFIRM and _complete(t)]
    ranked = rank(complete, objectives)
    if verdict.feasible:
        searched = [t for t in ranked if t.role is TrialRole.SEARCH and _usable(t)]
        bounds = _least_costs(verdict, objectives)
        better = [t for t in searched if _dominated(bounds, costs(t.verdict, objectives))]
        return Lost(CutReason.CANNOT_WIN, tuple(better[:keep])) if len(better) >= keep else None
    first = next((t for t in ranked if _usable(t)), None)
    if first is not None:
        return Lost(CutReason.SLO, (first,))
    # Nothing meets the SLOs yet: then the trial that misses them by the least comes first.
    nearest = next((t for t in ranked if t.verdict is not None and not t.verdict.feasible), None)
    if nearest is None or nearest.verdict is None or _missing(verdict) <= _missing(nearest.verdict):
        return None
    return Lost(CutReason.SLO, (nearest,))


def _complete(trial: Trial) -> bool:
    return trial.state is TrialState.DONE and trial.verdict is not None and not trial.verdict.cut


def _usable(trial: Trial) -> bool:
    return trial.verdict is not None and trial.verdict.feasible and trial.verdict.rankable


def _missing(verdict: Verdict) -> tuple[int, float]:
    """How infeasible trials are ordered; both numbers only grow with further levels."""
    return sum(v.hard and v.value is None for v in verdict.violations), verdict.total_violation


def _least_costs(verdict: Verdict, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Lower bounds of the costs; None if one of the objectives has none."""
    bounds = verdict.bounds or (None,) * len(objectives)
    known = tuple(b if v is None else v for v, b in zip(verdict.objectives, bounds, strict=True))
    return costs(verdict.model_copy(update={"objectives": known}), objectives)


def _dominated(bounds: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    """Whether another trial is at least as good in every objective and better in one."""
    if bounds is None or other is None:
        return False
    return other != bounds and all(o <= b for o, b in zip(other, bounds, strict=True))
