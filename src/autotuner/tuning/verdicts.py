"""Verdicts on trials by the goals of their study, and whether a trial of which levels are left has lost."""

from collections.abc import Sequence

from autotuner import scoring
from autotuner.scoring import Lost
from autotuner.scoring.agreement import with_quality
from autotuner.study.measurement import Measurement
from autotuner.study.quality.result import QualityResult
from autotuner.study.search.cut import Cut, Left
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.study.verdict import Verdict
from autotuner.tuning.proof import records


def verdict_on(
    spec: StudySpec, measured: Sequence[Measurement], cut: Cut | None = None, quality: QualityResult | None = None
) -> Verdict:
    """The verdict on a trial, which may have been cut, and whose answers may have been compared with the default's."""
    verdict = _verdict(spec, measured, () if cut is None else cut.left, "" if cut is None else cut.text)
    return with_quality(verdict, quality, spec.quality)


def verdict_so_far(spec: StudySpec, measured: Sequence[Measurement], left: Sequence[Left]) -> Verdict:
    """The verdict on the levels that were measured, with bounds of the objectives."""
    return _verdict(spec, measured, left, "")


def lost(spec: StudySpec, verdict: Verdict, trials: Sequence[Trial], itself: int) -> Lost | None:
    """Whether a trial has lost against others of the study, by the verdict on its levels so far.

    The proof launches the best challengers; without one, the best trial counts. Those that it has refuted beat nothing.
    """
    keep = spec.confirm.challengers if spec.confirm.blocks else 1
    holding = [t for t in trials if not refuted(t, trials)]
    return scoring.lost(verdict, spec.objectives, holding, keep=keep, itself=itself)


def refuted(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether a trial that met the SLOs died or missed one in the proof."""
    return records.usable(trial) and records.refuted(trial, trials)


def levels_left(spec: StudySpec, measured: Sequence[Measurement]) -> tuple[Left, ...]:
    """The levels without a measurement."""
    seen = {(m.scenario, m.level.text) for m in measured}
    places = ((s.text, level.text) for s in spec.workload.scenarios for level in spec.workload.levels)
    return tuple(Left(scenario=place[0], level=place[1]) for place in places if place not in seen)


def _verdict(spec: StudySpec, measured: Sequence[Measurement], left: Sequence[Left], cut: str) -> Verdict:
    return scoring.score(
        measured,
        spec.objectives,
        spec.slos,
        min_success_rate=spec.min_success_rate,
        expected=[(s.text, level) for s in spec.workload.scenarios for level in spec.workload.levels],
        left=[(at.scenario, at.level) for at in left],
        cut=cut,
    )
