"""Racing: a trial of the search ends once what was measured of it has decided that it has lost.

A look at the highest load comes first: a short window, from which :mod:`autotuner.tuning.looks` predicts what the full
windows would show at best. Between the full windows, only what is certain ends a trial. :func:`autotuner.scoring.lost`
says in both cases whether it has lost. The default and the repeats of the proof are always measured completely.
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
from autotuner.study.workload import LoadLevel, Scenario
from autotuner.tuning.looks import CONFIDENCE, after_looks, by_load, look_places, look_s, verdict_by_looks
from autotuner.tuning.planning.plan import window_length_s
from autotuner.tuning.verdicts import levels_left, lost, verdict_so_far

Place = tuple[Scenario, LoadLevel]


class Race:
    """The rules for one trial.

    Args:
        spec: The study.
        trial: The trial.
        trials: The present trials of the study.
        short_windows: Whether the benchmark can take a look.
    """

    def __init__(
        self, spec: StudySpec, trial: Trial, trials: Callable[[], Sequence[Trial]], *, short_windows: bool
    ) -> None:
        self._spec = spec
        self._trial = trial
        self._trials = trials
        self._short_windows = short_windows

    @property
    def _may_end(self) -> bool:
        """Whether it need not be measured completely, as all defaults are."""
        trial = self._trial
        return self._spec.search.races and trial.role is TrialRole.SEARCH and not trial.engine_default

    @property
    def looks(self) -> tuple[Place, ...]:
        """Where a short window comes before the full ones. The default's shows how the two differ."""
        spec = self._spec
        if not self._short_windows or self._trial.role is TrialRole.CONFIRM or not look_s(spec):
            return ()
        return look_places(spec) if pays_off(spec, self._trials()) else ()

    def order(self, scenario: Scenario, looks: Sequence[Measurement]) -> Sequence[LoadLevel]:
        """The order of a scenario's full windows: that of the file, since a server should not begin with its highest
        load; after a look has warmed it up, the levels that most likely decide come first."""
        levels = self._spec.workload.levels
        return by_load(scenario, levels) if looks else levels

    def after_looks(self, looks: Sequence[Measurement]) -> tuple[Cut, Verdict] | None:
        """Why the trial ends before its full windows, and its verdict; None if it does not."""
        if not self._may_end:
            return None
        trials = self._trials()
        verdict = verdict_by_looks(self._spec, looks, trials, self._trial.number)
        found = None if verdict is None else lost(self._spec, verdict, trials, self._trial.number)
        if verdict is None or found is None:
            return None
        where = "; ".join(f"{look.scenario} {look.level.text}" for look in looks)
        why = _why(self._spec, verdict, found)
        cut = Cut(
            reason=found.reason,
            text=f"cut after a short window at {where}: with {CONFIDENCE:.0%} confidence, {why}",
            left=levels_left(self._spec, ()),
            rivals=tuple(t.number for t in found.rivals),
            confidence=CONFIDENCE,
            saved_s=_length_s(self._spec, levels_left(self._spec, ())),
        )
        return cut, after_looks(verdict, cut.text)

    def after_level(self, measured: Sequence[Measurement]) -> Cut | None:
        """Whether the trial ends after these full windows."""
        spec = self._spec
        left = levels_left(spec, measured)
        if not left or not self._may_end:
            return None
        verdict = verdict_so_far(spec, measured, left)
        found = lost(spec, verdict, self._trials(), self._trial.number)
        if found is None:
            return None
        number = len(spec.workload.scenarios) * len(spec.workload.levels)
        return Cut(
            reason=found.reason,
            text=f"cut after {number - len(left)} of {number} levels: {_why(spec, verdict, found)}",
            left=left,
            rivals=tuple(t.number for t in found.rivals),
            saved_s=_length_s(spec, left),
        )


def pays_off(spec: StudySpec, trials: Sequence[Trial]) -> bool:
    """Whether looks are expected to save more time than they take, by what was saved after those so far.

    The first trials of a search cannot lose against as many others as the proof launches, so they do not count. An
    assumed trial that saved half of its windows does, so that a few looks are taken.
    """
    searched = [t for t in trials if t.role is TrialRole.SEARCH and t.state.finished and t.verdict is not None]
    complete = [t for t in searched if t.cut is None]
    first = {t.number for t in complete[: spec.confirm.challengers]}
    looked = [t for t in searched if t.looks and t.number not in first]
    saved_s = sum(t.cut.saved_s for t in looked if t.cut is not None)
    whole_s = _length_s(spec, levels_left(spec, ()))
    return (saved_s + whole_s / 2) / (len(looked) + 1) > look_s(spec)


def _length_s(spec: StudySpec, left: Sequence[Left]) -> float:
    """Least seconds that the windows of some levels take."""
    lengths = {
        (scenario.text, level.text): window_length_s(spec, scenario, level)
        for scenario in spec.workload.scenarios
        for level in spec.workload.levels
    }
    return sum(spec.workload.warmup_s + lengths[at.scenario, at.level] for at in left)


def _why(spec: StudySpec, verdict: Verdict, found: Lost) -> str:
    if found.reason is CutReason.SLO:
        return _missed(verdict, found)
    return _bound(spec, verdict, [t.number for t in found.rivals])


def _missed(verdict: Verdict, found: Lost) -> str:
    worst = max((v for v in verdict.violations if v.hard), key=lambda v: v.relative)
    rival = found.rivals[0]
    if rival.verdict is not None and rival.verdict.feasible:
        return (
            f"it misses {worst.slo} at {worst.where} by {worst.relative:.1%}, and trial {rival.number} meets all SLOs"
        )
    return f"it misses SLOs by at least {verdict.total_violation:.0%} in total, and trial {rival.number} by less"


def _bound(spec: StudySpec, verdict: Verdict, rivals: Sequence[int]) -> str:
    bounds = verdict.bounds or (None,) * len(spec.objectives)
    parts = []
    for objective, value, bound in zip(spec.objectives, verdict.objectives, bounds, strict=True):
        best = bound if value is None else value
        if best is not None:
            parts.append(f"{objective.text} is {_amount(objective.metric, best)} at best")
    many = ", ".join(map(str, rivals))
    better = f"trials {many} are better" if len(rivals) > 1 else f"trial {many} is better"
    return f"{', '.join(parts)}; {better}"


def _amount(metric: str, value: float) -> str:
    unit = METRICS[metric].unit
    shown = value * 1000 if unit is Unit.SECONDS else value
    return number_text(float(f"{shown:.4g}")) + ("ms" if unit is Unit.SECONDS else "")
