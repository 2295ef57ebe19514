"""Whether a trial is cut, and why, in one line: while it runs, and again once other trials or goals count."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from autotuner.scoring import Lost, worsened
from autotuner.study.base import number_text
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS, Unit
from autotuner.study.objective import Objective
from autotuner.study.search.cut import Cut, CutReason
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.study.verdict import Verdict, Violation
from autotuner.tuning.looks import CONFIDENCE, after_looks, verdict_by_looks
from autotuner.tuning.racing.window_length import windows_length_s
from autotuner.tuning.verdicts import levels_left, lost, verdict_on, verdict_so_far

NOT_DECIDED = "cut, and no longer decided by the levels that it measured"
"""Why a trial that was cut is set aside."""


def cut_by_levels(spec: StudySpec, measured: Sequence[Measurement], trials: Sequence[Trial], itself: int) -> Cut | None:
    """Why a trial ends after these full windows; None if it does not."""
    left = levels_left(spec, measured)
    # What a load generator measures that cannot keep up says little about the server.
    if not left or any(m.self_check.client_limited for m in measured):
        return None
    verdict = verdict_so_far(spec, measured, left)
    found = lost(spec, verdict, trials, itself)
    if found is None:
        return None
    number = len(spec.workload.scenarios) * len(spec.workload.levels)
    return Cut(
        reason=found.reason,
        text=f"cut after {number - len(left)} of {number} levels: {_why(spec, verdict, found)}",
        left=left,
        rivals=tuple(t.number for t in found.rivals),
        saved_s=windows_length_s(spec, left),
    )


def cut_by_looks(
    spec: StudySpec, looks: Sequence[Measurement], trials: Sequence[Trial], itself: int
) -> tuple[Cut, Verdict] | None:
    """Why a trial ends after its short windows, and its verdict; None if it does not."""
    verdict = verdict_by_looks(spec, looks, trials, itself)
    found = None if verdict is None else lost(spec, verdict, trials, itself)
    if verdict is None or found is None:
        return None
    left = levels_left(spec, ())
    where = "; ".join(f"{look.scenario} {look.level.text}" for look in looks)
    cut = Cut(
        reason=found.reason,
        text=f"cut after a short window at {where}: with {CONFIDENCE:.0%} confidence, {_why(spec, verdict, found)}",
        left=left,
        rivals=tuple(t.number for t in found.rivals),
        confidence=CONFIDENCE,
        saved_s=windows_length_s(spec, left),
    )
    return cut, after_looks(verdict, cut.text)


def cut_again(spec: StudySpec, trial: Trial, trials: Sequence[Trial]) -> Trial | None:
    """A trial that was cut, with the reason that counts by now; None if it would not be cut any more."""
    if trial.cut is None:
        return None
    if trial.cut.confidence is not None:
        found = cut_by_looks(spec, trial.looks, trials, trial.number)
        return None if found is None else trial.replaced(cut=found[0], verdict=found[1])
    cut = cut_by_levels(spec, trial.measurements, trials, trial.number)
    return None if cut is None else trial.replaced(cut=cut, verdict=verdict_on(spec, trial.measurements, cut))


def beaten_by(trial: Trial, others: AbstractSet[int]) -> bool:
    """Whether a trial that may meet the SLOs was cut because of one of the others, given by their numbers."""
    return bool(trial.cut and trial.verdict and trial.verdict.feasible and not others.isdisjoint(trial.cut.rivals))


def _why(spec: StudySpec, verdict: Verdict, found: Lost) -> str:
    if found.reason is CutReason.SLO:
        return _missed(verdict, found)
    return _bound(spec.objectives, verdict, [t.number for t in found.rivals])


def _missed(verdict: Verdict, found: Lost) -> str:
    rival = found.rivals[0]
    hard = [v for v in verdict.violations if v.hard]
    if rival.verdict is not None and rival.verdict.feasible:
        worst = max(hard, key=lambda v: v.relative)
        return f"{_violation(worst)}, and trial {rival.number} meets all SLOs"
    unmeasured = [v for v in hard if v.value is None]
    missing = 0 if rival.verdict is None else sum(v.hard and v.value is None for v in rival.verdict.violations)
    if len(unmeasured) > missing:
        fewer = "lacks fewer values" if missing else "lacks no value"
        return f"{'; '.join(_violation(v) for v in unmeasured)}, and trial {rival.number} {fewer}"
    return f"it misses SLOs by at least {verdict.total_violation:.0%} in total, and trial {rival.number} by less"


def _violation(found: Violation) -> str:
    if found.value is None:
        return f"{found.slo} has no valid measurement at {found.where}"
    return f"it misses {found.slo} at {found.where} by {found.relative:.1%}"


def _bound(objectives: Sequence[Objective], verdict: Verdict, rivals: Sequence[int]) -> str:
    bounds = verdict.bounds or (None,) * len(objectives)
    parts = []
    for objective, value, bound in zip(objectives, verdict.objectives, bounds, strict=True):
        best = bound if value is None else value
        if best is not None:
            parts.append(f"{objective.text} is {_amount(objective.metric, best)} at best")
            if verdict.penalty:
                counted = worsened(best, objective.direction, verdict.penalty)
                parts[-1] += f" and counts as {_amount(objective.metric, counted)} because of missed soft SLOs"
    many = ", ".join(map(str, rivals))
    better = f"trials {many} are better" if len(rivals) > 1 else f"trial {many} is better"
    return f"{', '.join(parts)}; {better}"


def _amount(metric: str, value: float) -> str:
    unit = METRICS[metric].unit
    shown = value * 1000 if unit is Unit.SECONDS else value
    return number_text(float(f"{shown:.4g}")) + ("ms" if unit is Unit.SECONDS else "")
