"""Proof of a winner: the default and its best challengers launched again, interleaved and one at a time.

Interleaving makes drift of the machine affect all of them alike, and running alone gives all of them the same
conditions. The next step follows from the stored trials alone, so resuming a proof is not a special case.

A first measurement only decides which configurations are repeated. It was picked as the best of many and is therefore
biased; the estimate of a configuration rests on its repeats. A challenger that died or missed a bound in a repeat is
refuted, and the next one takes its place.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotuner import scoring
from autotuner.study.objective import Objective
from autotuner.study.spec import ConfirmSpec
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
    """It was feasible, but not measured well enough to be ranked."""

    @property
    def held(self) -> bool:
        """Whether no launch died or missed a bound."""
        return not self.died and not self.missed


def launches(trial: Trial, trials: Sequence[Trial]) -> Launches:
    """All finished launches of a trial's configuration."""
    found = [trial, *repeats_of(trial, trials)]
    died = sum(t.state is not TrialState.DONE or t.verdict is None for t in found)
    missed = sum(t.state is TrialState.DONE and t.verdict is not None and not t.verdict.feasible for t in found)
    return Launches(len(found), died, missed, len(found) - died - missed - sum(usable(t) for t in found))


def usable(trial: Trial) -> bool:
    """Whether the trial is feasible and measured well enough to be ranked."""
    verdict = trial.verdict
    return trial.state is TrialState.DONE and verdict is not None and verdict.feasible and verdict.rankable


def default_of(trials: Sequence[Trial]) -> Trial | None:
    """The default's trial: the first one that was measured, otherwise the last one that failed."""
    found = [t for t in trials if t.role is TrialRole.DEFAULT and t.state.finished]
    return next((t for t in found if t.state is TrialState.DONE), found[-1] if found else None)


def repeats_of(trial: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """The finished confirmations of a trial, in order."""
    return [t for t in trials if t.role is TrialRole.CONFIRM and t.repeat_of == trial.number and t.state.finished]


def rankable_repeats(trial: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """The confirmations of a trial whose numbers count, including those that missed a bound."""
    found = repeats_of(trial, trials)
    return [t for t in found if t.state is TrialState.DONE and t.verdict is not None and t.verdict.rankable]


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
    found = []
    for repeat in rankable_repeats(trial, trials):
        verdict = repeat.verdict
        value = _objective(repeat, index)
        if verdict and value is not None and math.isfinite(value) and value > 0:
            found.append(scoring.worsened(value, objective.direction, verdict.penalty))
    return found


def estimate(trial: Trial, trials: Sequence[Trial], index: int = 0) -> float | None:
    """One objective of a configuration in the metric's unit: the mean of its rankable repeats, otherwise its only
    measurement; None if neither is known. Soft SLOs do not count."""
    repeats = [_objective(t, index) for t in rankable_repeats(trial, trials)]
    found = [v for v in repeats if v is not None and math.isfinite(v)]
    return math.fsum(found) / len(found) if found else _objective(trial, index)


def _objective(trial: Trial, index: int) -> float | None:
    known = trial.verdict.objectives if trial.verdict else ()
    return known[index] if index < len(known) else None


def standing(trial: Trial, trials: Sequence[Trial], objectives: Sequence[Objective]) -> float | None:
    """The mean log cost of a trial's rankable repeats (smaller is better); None without any."""
    found = _log_costs(rankable_repeats(trial, trials), objectives)
    return math.fsum(found) / len(found) if found else None


def known_noise(trials: Sequence[Trial], index: int = 0) -> float:
    """Least relative standard deviation between launches: the variation within windows, or the assumed minimum."""
    found = [u for t in trials if t.verdict and (u := _uncertainty(t, index)) is not None]
    within = math.sqrt(math.fsum(u * u for u in found) / len(found)) / _NORMAL if found else 0.0
    return max(scoring.LAUNCH_NOISE, within)


_NORMAL = 1.96
"""Half-width of a 95% interval in standard deviations."""


def measured_noise(trials: Sequence[Trial], objectives: Sequence[Objective]) -> tuple[float, int]:
    """Standard deviation of the log cost between launches of one configuration, pooled over all repeated ones, and its
    degrees of freedom; (0, 0) if none was repeated. First measurements count unless other trials ran beside them: that
    is bias, not noise."""
    squares = 0.0
    freedom = 0
    for trial in trials:
        repeats = rankable_repeats(trial, trials)
        first = [trial] if usable(trial) and not in_company(trial, trials) else []
        group = _log_costs([*first, *repeats], objectives)
        if trial.role is not TrialRole.CONFIRM and repeats and len(group) > 1:
            mean = math.fsum(group) / len(group)
            squares += math.fsum((v - mean) ** 2 for v in group)
            freedom += len(group) - 1
    return (math.sqrt(squares / freedom), freedom) if freedom else (0.0, 0)


def in_company(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether another server of this study ran at the same time. A trial starts when its wait for GPUs is over."""
    start = trial.started_at
    end = trial.finished_at
    if start is None or end is None:
        return False
    others = ((t.started_at, t.finished_at) for t in trials if t.number != trial.number)
    return any(s is not None and e is not None and s < end and start < e for s, e in others)


def interference(trials: Sequence[Trial], objectives: Sequence[Objective]) -> float | None:
    """By how much trials measured worse side by side than alone, as a share of the value alone; None if that is not
    shown.

    The same configurations were measured both ways: beside others in the search, and alone in the proof. They were
    picked for good first measurements, so chance alone would make the first ones look better, not worse.
    """
    found = []
    for trial in trials:
        alone = standing(trial, trials, objectives)
        together = scoring.log_cost(trial.verdict, objectives)
        if alone is not None and together is not None and in_company(trial, trials):
            found.append((together - alone, 1 + 1 / len(rankable_repeats(trial, trials))))
    if not found:
        return None
    sd, freedom = measured_noise(trials, objectives)
    sd = max(sd, scoring.MARGIN / (_NORMAL * math.sqrt(2)))
    mean = math.fsum(d for d, _ in found) / len(found)
    error = sd * math.sqrt(math.fsum(share for _, share in found)) / len(found)
    shown = mean > scoring.student_t(0.975, freedom or math.inf) * error and mean > scoring.MARGIN
    return -math.expm1(-mean) if shown else None


def interference_text(share: float) -> str:
    """The notice about interference between trials that ran side by side."""
    return (
        f"trials running side by side share this machine: they measured {share * 100:.0f}% worse than alone, so their "
        "numbers are not comparable with those of a run alone; only the repeats are, which ran one at a time"
    )


def contenders(trials: Sequence[Trial], objectives: Sequence[Objective], most: int) -> list[Trial]:
    """The challengers that may still win, ordered by their first measurements: at most ``most`` that no repeat refuted,
    without those whose repeats are clearly worse than the best one's (successive elimination)."""
    field = [t for t in challengers(trials, objectives) if not refuted(t, trials)][:most]
    found = {t.number: standing(t, trials, objectives) for t in field}
    leader = min((t for t in field if found[t.number] is not None), key=lambda t: found[t.number] or 0.0, default=None)
    if leader is None:
        return field
    sd, freedom = measured_noise(trials, objectives)
    sd = max(sd, known_noise(trials))
    return [t for t in field if not _clearly_below(t, leader, trials, objectives, sd, freedom)]


def _clearly_below(
    trial: Trial, leader: Trial, trials: Sequence[Trial], objectives: Sequence[Objective], sd: float, freedom: int
) -> bool:
    mine = standing(trial, trials, objectives)
    best = standing(leader, trials, objectives)
    if mine is None or best is None or not freedom:
        return False
    counts = [len(rankable_repeats(t, trials)) for t in (trial, leader)]
    return mine - best > scoring.student_t(0.975, freedom) * sd * math.sqrt(sum(1 / n for n in counts))


def next_repeat(trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec) -> Trial | None:
    """The trial whose configuration the proof launches next; None when the proof is complete.

    Launches are counterbalanced (D A B, B A D, D A B). A challenger that replaces a refuted one is interleaved with
    further launches of the default, within :func:`most_launches`. If the default cannot run, only challengers are
    repeated.
    """
    if sum(t.role is TrialRole.CONFIRM and t.state.finished for t in trials) >= most_launches(confirm):
        return None
    default = default_of(trials)
    field = contenders(trials, objectives, confirm.challengers)
    open_ = [t for t in field if len(repeats_of(t, trials)) < confirm.repeats]
    if default is None or default.state is not TrialState.DONE:
        return min(open_, key=lambda t: len(repeats_of(t, trials)), default=None)
    done = repeats_of(default, trials)
    if not field or (not open_ and len(done) >= confirm.repeats):
        return None
    if len(done) % 2 == 0 or not open_:
        return default
    # Two passes between a pair of the default's launches: there in order, back in reverse.
    since = [t for t in trials if t.role is TrialRole.CONFIRM and t.state.finished and t.number > done[-1].number]
    passes = {t.number: sum(r.repeat_of == t.number for r in since) for t in open_}
    fewest = min(passes.values())
    if fewest >= 2:
        return default
    return next(t for t in (open_ if fewest == 0 else open_[::-1]) if passes[t.number] == fewest)


def most_launches(confirm: ConfirmSpec, tried: int | None = None) -> int:
    """Upper bound of the proof's launches if the search tries ``tried`` configurations besides the default."""
    others = confirm.challengers if tried is None else min(confirm.challengers, tried)
    return confirm.repeats * (1 + others) if others else 0


def _log_costs(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[float]:
    found = (scoring.log_cost(t.verdict, objectives) for t in trials)
    return [c for c in found if c is not None]


def _uncertainty(trial: Trial, index: int) -> float | None:
    known = trial.verdict.uncertainty if trial.verdict else ()
    return known[index] if index < len(known) else None
