"""Racing: a trial of the search ends between two levels once the measured ones have decided that it has lost.

:func:`autotuner.scoring.lost` says when. The default and the repeats of the proof are always measured completely.
"""

from collections.abc import Callable, Sequence

from autotuner.scoring import Lost
from autotuner.study.base import number_text
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS, Unit
from autotuner.study.search.cut import Cut, CutReason, Left
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.study.verdict import Verdict
from autotuner.tuning.planning.plan import window_length_s
from autotuner.tuning.verdicts import levels_left, lost, verdict_so_far

Race = Callable[[Sequence[Measurement]], Cut | None]
"""Decides after each level whether the trial ends there."""


def race(spec: StudySpec, trial: Trial, trials: Callable[[], Sequence[Trial]]) -> Race:
    """The rule for one trial.

    Args:
        spec: The study.
        trial: The trial.
        trials: The present trials of the study.
    """
    if not spec.search.races or trial.role is not TrialRole.SEARCH or trial.engine_default:
        return lambda _: None

    def decide(measured: Sequence[Measurement]) -> Cut | None:
        left = levels_left(spec, measured)
        if not left:
            return None
        verdict = verdict_so_far(spec, measured, left)
        found = lost(spec, verdict, trials(), trial.number)
        return None if found is None else _cut(spec, verdict, found, left)

    return decide


def _cut(spec: StudySpec, verdict: Verdict, found: Lost, left: tuple[Left, ...]) -> Cut:
    number = len(spec.workload.scenarios) * len(spec.workload.levels)
    rivals = tuple(t.number for t in found.rivals)
    what = _missed(verdict, found) if found.reason is CutReason.SLO else _bound(spec, verdict, rivals)
    lengths = {
        (scenario.text, level.text): window_length_s(spec, scenario, level)
        for scenario in spec.workload.scenarios
        for level in spec.workload.levels
    }
    return Cut(
        reason=found.reason,
        text=f"cut after {number - len(left)} of {number} levels: {what}",
        left=left,
        rivals=rivals,
        saved_s=sum(spec.workload.warmup_s + lengths[at.scenario, at.level] for at in left),
    )


def _missed(verdict: Verdict, found: Lost) -> str:
    worst = max((v for v in verdict.violations if v.hard), key=lambda v: v.relative)
    rival = found.rivals[0]
    if rival.verdict is not None and rival.verdict.feasible:
        return f"misses {worst.slo} at {worst.where}, and trial {rival.number} meets all SLOs"
    return f"misses SLOs by at least {verdict.total_violation:.0%} in total, and trial {rival.number} by less"


def _bound(spec: StudySpec, verdict: Verdict, rivals: Sequence[int]) -> str:
    bounds = verdict.bounds or (None,) * len(spec.objectives)
    parts = []
    for objective, value, bound in zip(spec.objectives, verdict.objectives, bounds, strict=True):
        if value is not None:
            parts.append(f"{objective.text} is {_amount(objective.metric, value)}")
        elif bound is not None:
            parts.append(f"{objective.text} is {_amount(objective.metric, bound)} at best")
    many = ", ".join(map(str, rivals))
    better = f"trials {many} are better" if len(rivals) > 1 else f"trial {many} is better"
    return f"{', '.join(parts)}; {better}"


def _amount(metric: str, value: float) -> str:
    unit = METRICS[metric].unit
    shown = value * 1000 if unit is Unit.SECONDS else value
    return number_text(float(f"{shown:.4g}")) + ("ms" if unit is Unit.SECONDS else "")
