"""Facts about the launches of a study's configurations, from its stored trials."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from autotuner import scoring
from autotuner.study.configuration import Configuration
from autotuner.study.objective import Objective
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState


@dataclass(frozen=True)
class Launches:
    """Outcomes of all launches of one configuration, including the first; void ones do not count."""

    total: int
    died: int
    """The server did not start, crashed, or could not be measured."""
    missed: int
    """It was measured and missed a hard SLO or the success rate."""
    unranked: int
    """It was feasible, or may have missed a bound because of the load generator, but cannot be ranked."""

    @property
    def held(self) -> bool:
        """Whether no launch died or missed a bound."""
        return not self.died and not self.missed


def launches(trial: Trial, trials: Sequence[Trial]) -> Launches:
    """All finished launches of a trial's configuration."""
    found = [trial, *repeats_of(trial, trials)]
    died = sum(t.state is not TrialState.DONE or t.verdict is None for t in found)
    missed = sum(misses(t) for t in found)
    return Launches(len(found), died, missed, len(found) - died - missed - sum(usable(t) for t in found))


def misses(trial: Trial) -> bool:
    """Whether the trial was measured and shows that its configuration misses a hard SLO or the success rate."""
    verdict = trial.verdict
    return trial.state is TrialState.DONE and verdict is not None and not verdict.feasible and not verdict.doubtful


def usable(trial: Trial) -> bool:
    """Whether the trial is feasible and measured well enough to be ranked."""
    verdict = trial.verdict
    return trial.state is TrialState.DONE and verdict is not None and verdict.feasible and verdict.rankable


def default_of(trials: Sequence[Trial]) -> Trial | None:
    """The default's trial: the first one that was measured, otherwise the last one that failed."""
    found = [t for t in trials if t.role is TrialRole.DEFAULT and t.state.finished]
    return next((t for t in found if t.state is TrialState.DONE), found[-1] if found else None)


def newest_search(trials: Sequence[Trial]) -> int:
    """Number of the newest trial with a configuration that the search had not tried before; -1 without any.

    A trial that was cut is measured after all during a proof (see :mod:`autotuner.tuning.proof.reopening`), which does
    not begin anew then.
    """
    firsts: dict[str, int] = {}
    newest = -1
    for trial in sorted((t for t in trials if t.role is TrialRole.SEARCH), key=lambda t: t.number):
        first = firsts.setdefault(trial.configuration.key, trial.number)
        if trial.state.finished:
            newest = max(newest, first)
    return newest


def engine_defaults(trials: Sequence[Trial]) -> list[Trial]:
    """The defaults of engines other than the baseline that were measured."""
    return [t for t in trials if t.engine_default and t.state is TrialState.DONE]


def default_of_engine(spec: StudySpec, configuration: Configuration, trials: Sequence[Trial]) -> Trial | None:
    """The measured default of the engine that a configuration chooses; without several engines, the default."""
    name = spec.engine_name(configuration)
    if not name or name == spec.engines[0].name:
        return default_of(trials)
    return next((t for t in engine_defaults(trials) if spec.engine_name(t.configuration) == name), None)


def repeats_of(trial: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """The finished confirmations of a trial, in order."""
    return [t for t in trials if t.role is TrialRole.CONFIRM and t.repeat_of == trial.number and t.state.finished]


def rankable_repeats(trial: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """The confirmations of a trial whose numbers count, including those that missed a bound."""
    return [t for t in repeats_of(trial, trials) if is_rankable(t)]


def is_rankable(trial: Trial) -> bool:
    """Whether the numbers of a trial count, even if it missed a bound."""
    return trial.state is TrialState.DONE and trial.verdict is not None and trial.verdict.rankable


def blocks_of(trial: Trial, trials: Sequence[Trial]) -> dict[int, Trial]:
    """The finished confirmations of a trial by block. Earlier versions did not store the block; they launched every
    configuration once per round, so the n-th repeat belongs to block n."""
    found = enumerate(repeats_of(trial, trials), start=1)
    return {nth if repeat.block is None else repeat.block: repeat for nth, repeat in found}


def rankable_blocks(trial: Trial, trials: Sequence[Trial]) -> dict[int, Trial]:
    """As :func:`blocks_of`, of the confirmations whose numbers count."""
    return {block: repeat for block, repeat in blocks_of(trial, trials).items() if is_rankable(repeat)}


def paired_repeats(default: Trial, other: Trial, trials: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """The rankable confirmations of the default and of another trial in the blocks that measured both, in order."""
    one, two = (rankable_blocks(trial, trials) for trial in (default, other))
    common = sorted(one.keys() & two.keys())
    return [one[block] for block in common], [two[block] for block in common]


def pairs(
    default: Trial, other: Trial, trials: Sequence[Trial], objective: Objective, index: int = 0
) -> list[tuple[float, float]]:
    """One objective of the default and of another configuration in the blocks that measured both, in order, worsened
    by the penalties for missed soft SLOs."""
    found = []
    for repeats in zip(*paired_repeats(default, other, trials), strict=True):
        one, two = (_value(repeat, objective, index) for repeat in repeats)
        if one is not None and two is not None:
            found.append((one, two))
    return found


def challengers(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The trials of the search that may win, refuted ones included, ordered by their first measurements.

    A trial that met the SLOs while others ran beside it, but was not measured well enough to be ranked, may win too:
    alone, as in the proof, it may be measured better. These come last.
    """
    searched = [t for t in trials if t.role is TrialRole.SEARCH]
    return scoring.rank([t for t in searched if usable(t) or _crowded(t, trials)], objectives)


def _crowded(trial: Trial, trials: Sequence[Trial]) -> bool:
    verdict = trial.verdict
    if trial.state is not TrialState.DONE or verdict is None or not verdict.feasible or verdict.cut:
        return False
    return in_company(trial, trials)


def refuted(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether a repeat died or missed a bound. One is enough: a server that crashes in one of four launches is not
    deployed."""
    return not launches(trial, trials).held


def values(trial: Trial, trials: Sequence[Trial], objective: Objective, index: int = 0) -> list[float]:
    """One objective over a trial's rankable repeats, in order, worsened by the penalty for missed soft SLOs."""
    found = (_value(repeat, objective, index) for repeat in repeats_of(trial, trials))
    return [value for value in found if value is not None]


def _value(trial: Trial, objective: Objective, index: int) -> float | None:
    """An objective of a rankable trial, worsened by the penalty for missed soft SLOs; a value of zero counts."""
    value = objective_of(trial, index)
    if not is_rankable(trial) or trial.verdict is None or value is None or not math.isfinite(value):
        return None
    return scoring.worsened(value, objective.direction, trial.verdict.penalty)


def estimate(trial: Trial, trials: Sequence[Trial], index: int = 0) -> float | None:
    """One objective of a configuration in the metric's unit: the mean of its rankable repeats, otherwise its only
    measurement; None if neither is known. Soft SLOs do not count."""
    repeats = [objective_of(t, index) for t in rankable_repeats(trial, trials)]
    found = [v for v in repeats if v is not None and math.isfinite(v)]
    return math.fsum(found) / len(found) if found else objective_of(trial, index)


def objective_of(trial: Trial, index: int) -> float | None:
    """One objective of a trial in the metric's unit."""
    known = trial.verdict.objectives if trial.verdict else ()
    return known[index] if index < len(known) else None


def log_costs(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[float]:
    """The log costs of the trials that have one."""
    found = (scoring.log_cost(t.verdict, objectives) for t in trials)
    return [c for c in found if c is not None]


def in_company(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether another server of this study ran at the same time. A trial starts when its wait for GPUs is over."""
    start = trial.started_at
    end = trial.finished_at
    if start is None or end is None:
        return False
    others = ((t.started_at, t.finished_at) for t in trials if t.number != trial.number)
    return any(s is not None and e is not None and s < end and start < e for s, e in others)


def all_in_company(trials: Sequence[Trial]) -> frozenset[int]:
    """Numbers of the trials for which :func:`in_company` holds, in one pass over all of them."""
    spans = [(t, t.started_at, t.finished_at) for t in trials if t.started_at is not None and t.finished_at is not None]
    if any(end <= start for _, start, end in spans):  # the clock was set back: the counts below need positive durations
        return frozenset(t.number for t in trials if in_company(t, trials))
    starts = sorted(start for _, start, _ in spans)
    ends = sorted(end for *_, end in spans)
    # Those that began before the trial ended, without those that ended before it began, and without itself.
    return frozenset(t.number for t, start, end in spans if bisect_left(starts, end) - bisect_right(ends, start) > 1)
