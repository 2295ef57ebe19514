"""Looks: a short window at the highest load, before the full windows of a trial are worth their time.

A short window is never compared with a full one. Of each trial that was measured completely, both are known: the values
of its look and what its full windows showed. The logarithms of their ratios predict what a new trial's full windows
would show, with a Student interval that begins with an assumed spread. A trial is lost if even the best end of that
interval loses; see :func:`autotuner.scoring.lost`. Only full windows are ranked.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autotuner import scoring
from autotuner.scoring.slo import missed
from autotuner.scoring.values import metric_value
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS, Direction
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.search.goals import Place
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict, Violation
from autotuner.study.workload import Concurrency, LoadLevel, RequestRate, Scenario, Workload

SHARE = 0.25
"""Duration of a look relative to a full window."""
CONFIDENCE = 0.99
"""That the full windows of a trial would not have shown more than a bound, all goals of the trial together. Only one
trial is the best one of a search, so this is also the confidence that looks do not change it."""

_SPREAD = 0.1
_SPREAD_OF_TAILS = 0.3
"""Assumed standard deviations of the ratios between configurations; of percentiles above the median, the second."""
_WEIGHT = 10
"""Ratios that the assumed spread counts as."""


def look_places(spec: StudySpec) -> tuple[tuple[Scenario, LoadLevel], ...]:
    """The highest level of each scenario; none if one of them cannot be measured in a short window. Conversations and
    traces begin unlike they go on, and stages have durations of their own."""
    found = []
    for scenario in spec.workload.scenarios:
        levels = [level for level in spec.workload.levels if isinstance(level, Concurrency | RequestRate)]
        if scenario.conversations or scenario.trace is not None or len(levels) < len(spec.workload.levels):
            return ()
        found.append((scenario, by_load(scenario, levels)[0]))
    return tuple(found)


def by_load(scenario: Scenario, levels: Sequence[LoadLevel]) -> list[LoadLevel]:
    """The levels, highest load first: SLOs are missed there first, and latencies are worst."""
    return sorted(levels, key=lambda level: Place.of(scenario, level).load, reverse=True)


def look_workload(workload: Workload) -> Workload:
    """The load of a look."""
    length = workload.duration_s * SHARE
    requests = None if workload.requests is None else max(1, math.ceil(workload.requests * SHARE))
    return workload.replaced(duration_s=length, max_duration_s=length, min_requests=0, requests=requests)


def look_s(spec: StudySpec) -> float:
    """Seconds of all looks of a trial, warm-up included; 0 if it has none."""
    if spec.search.racing != "auto" or not spec.parameters:
        return 0.0
    return len(look_places(spec)) * (spec.workload.warmup_s + spec.workload.duration_s * SHARE)


@dataclass(frozen=True)
class _Prediction:
    """A predicted logarithm."""

    center: float
    half: float
    """Half of its interval."""

    def least(self) -> float:
        return math.exp(self.center - self.half)

    def most(self) -> float:
        return math.exp(self.center + self.half)


def verdict_by_looks(
    spec: StudySpec, looks: Sequence[Measurement], trials: Sequence[Trial], itself: int
) -> Verdict | None:
    """The verdict on the best results that a trial's full windows might show.

    Args:
        spec: The study.
        looks: The looks of the trial.
        trials: Trials of the study, whose looks and full windows are compared.
        itself: Number of the trial.

    Returns:
        Objectives at their best ends, and hard SLOs that are missed even then; None if there is nothing to go by.
    """
    fewest = min(spec.workload.fewest, look_workload(spec.workload).requests or spec.workload.fewest)
    known = [t for t in trials if t.number != itself and _complete(t) and _usable(t.looks, fewest)]
    if not known or not _usable(looks, fewest):
        return None
    slos = [slo for slo in spec.slos if slo.hard and not slo.bounds_each_request]
    alpha = (1 - CONFIDENCE) / (len(spec.objectives) + len(slos) * len(looks))
    values = tuple(_best_objective(spec, i, looks, known, alpha) for i in range(len(spec.objectives)))
    violations = tuple(_violations(slos, looks, known, alpha))
    return Verdict(
        feasible=not violations,
        objectives=values,
        total_violation=math.fsum(v.relative for v in violations),
        violations=violations,
    )


def after_looks(best: Verdict, text: str) -> Verdict:
    """The verdict on a trial that a look ended.

    Args:
        best: Of :func:`verdict_by_looks`.
        text: Why it ended.
    """
    nothing = (None,) * len(best.objectives)
    return best.replaced(
        objectives=nothing, bounds=best.objectives, cut=True, rankable=False, reasons=(*best.reasons, text)
    )


def _usable(looks: Sequence[Measurement], fewest: int) -> bool:
    """Whether looks say something; one with fewer answers than a window needs to be ranked does not."""
    answers = min((m.requests - m.failed for m in looks), default=0)
    return answers >= max(fewest, 1) and not any(m.self_check.client_limited for m in looks)


def _complete(trial: Trial) -> bool:
    return trial.role is not TrialRole.CONFIRM and trial.state is TrialState.DONE and trial.cut is None


def _best_objective(
    spec: StudySpec, index: int, looks: Sequence[Measurement], known: Sequence[Trial], alpha: float
) -> float | None:
    objective = spec.objectives[index]
    own = _look_value(objective, looks)
    pairs = []
    for trial in known:
        full = trial.verdict.objectives[index] if trial.verdict and index < len(trial.verdict.objectives) else None
        pairs.append((_look_value(objective, trial.looks), full))
    found = _predicted(own, pairs, _spread(objective.statistic), alpha)
    if found is None:
        return None
    return found.most() if objective.direction is Direction.MAX else found.least()


def _look_value(objective: Objective, looks: Sequence[Measurement]) -> float | None:
    """The objective's metric in the looks of its scenarios: the worst latency, the mean of the logarithms of a rate."""
    own = [m for m in looks if objective.scenario in (None, m.scenario)]
    values = [metric_value(m, objective.metric, objective.statistic) for m in own]
    logs = [math.log(v) for v in values if v is not None and v > 0]
    if not logs or len(logs) < len(values):
        return None
    worst = METRICS[objective.metric].better is Direction.MIN
    return math.exp(max(logs) if worst else math.fsum(logs) / len(logs))


def _violations(
    slos: Sequence[SLO], looks: Sequence[Measurement], known: Sequence[Trial], alpha: float
) -> Iterator[Violation]:
    for look in looks:
        for slo in slos:
            if slo.at not in (None, look.level.text) or slo.scenario not in (None, look.scenario) or not slo.threshold:
                continue
            found = _predicted(_of(slo, look), list(_pairs(slo, look, known)), _spread(slo.statistic), alpha)
            if found is None:
                continue
            best = found.least() if slo.comparison is Comparison.LE else found.most()
            if missed(slo, best):
                yield Violation(
                    slo=slo.text,
                    where=f"{look.scenario} {look.level.text}",
                    value=best,
                    threshold=slo.threshold,
                    relative=abs(best - slo.threshold) / abs(slo.threshold),
                )


def _pairs(slo: SLO, look: Measurement, known: Sequence[Trial]) -> Iterator[tuple[float | None, float | None]]:
    place = (look.scenario, look.level.text)
    for trial in known:
        sides = [
            [m for m in windows if (m.scenario, m.level.text) == place] for windows in (trial.looks, trial.measurements)
        ]
        if all(sides):
            yield _of(slo, sides[0][0]), _of(slo, sides[1][0])


def _of(slo: SLO, window: Measurement) -> float | None:
    if window.overloaded and METRICS[slo.metric].distribution:
        return None  # it grows with the window's length
    return metric_value(window.of(slo.of), slo.metric, slo.statistic)


def _spread(statistic: str | None) -> float:
    return _SPREAD if statistic in (None, "mean", "p50") else _SPREAD_OF_TAILS


def _predicted(
    own: float | None, pairs: Sequence[tuple[float | None, float | None]], spread: float, alpha: float
) -> _Prediction | None:
    """What the full windows would show, with a one-sided error of ``alpha``."""
    ratios = [math.log(full / look) for look, full in pairs if look and full and look > 0 and full > 0]
    if own is None or own <= 0 or not ratios:
        return None
    n = len(ratios)
    mean = math.fsum(ratios) / n
    freedom = _WEIGHT + n - 1
    variance = (_WEIGHT * spread**2 + math.fsum((r - mean) ** 2 for r in ratios)) / freedom
    half = scoring.student_t(1 - alpha, freedom) * math.sqrt(variance * (1 + 1 / n))
    return _Prediction(math.log(own) + mean, half)
