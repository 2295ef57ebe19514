"""Variation between launches of one configuration, and bias of trials that ran side by side."""

import math
from collections.abc import Sequence

from autotuner import scoring
from autotuner.study.objective import Objective
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.proof.records import in_company, log_costs, rankable_repeats, usable

NORMAL = 1.96
"""Half-width of a 95% interval in standard deviations."""


def known_noise(trials: Sequence[Trial], index: int = 0) -> float:
    """Least relative standard deviation between launches: the variation within windows, or the assumed minimum."""
    found = [u for t in trials if t.verdict and (u := _uncertainty(t, index)) is not None]
    within = math.sqrt(math.fsum(u * u for u in found) / len(found)) / NORMAL if found else 0.0
    return max(scoring.LAUNCH_NOISE, within)


def measured_noise(trials: Sequence[Trial], objectives: Sequence[Objective]) -> tuple[float, int]:
    """Standard deviation of the log cost between launches of one configuration, pooled over all repeated ones, and its
    degrees of freedom; (0, 0) if none was repeated. First measurements count unless other trials ran beside them: that
    is bias, not noise."""
    squares = 0.0
    freedom = 0
    confirmations = _confirmations(trials)
    for trial in trials:
        if trial.role is TrialRole.CONFIRM:
            continue
        repeats = rankable_repeats(trial, confirmations)
        if not repeats:
            continue
        first = [trial] if usable(trial) and not in_company(trial, trials) else []
        group = log_costs([*first, *repeats], objectives)
        if len(group) > 1:
            mean = math.fsum(group) / len(group)
            squares += math.fsum((v - mean) ** 2 for v in group)
            freedom += len(group) - 1
    return (math.sqrt(squares / freedom), freedom) if freedom else (0.0, 0)


def interference(trials: Sequence[Trial], objectives: Sequence[Objective]) -> float | None:
    """By how much trials measured worse side by side than alone, as a share of the value alone; None if that is not
    shown.

    The same configurations were measured both ways: beside others in the search, and alone in the proof. They were
    picked for good first measurements, so chance alone would make the first ones look better, not worse.
    """
    found = []
    confirmations = _confirmations(trials)
    for trial in trials:
        repeats = rankable_repeats(trial, confirmations)
        alone = log_costs(repeats, objectives)
        together = scoring.log_cost(trial.verdict, objectives)
        if alone and together is not None and in_company(trial, trials):
            found.append((together - math.fsum(alone) / len(alone), 1 + 1 / len(repeats)))
    if not found:
        return None
    sd, freedom = measured_noise(trials, objectives)
    sd = max(sd, scoring.MARGIN / (NORMAL * math.sqrt(2)))
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


def _confirmations(trials: Sequence[Trial]) -> list[Trial]:
    """All confirmations. Looking for those of each trial among all trials would take long in a long study."""
    return [t for t in trials if t.role is TrialRole.CONFIRM]


def _uncertainty(trial: Trial, index: int) -> float | None:
    known = trial.verdict.uncertainty if trial.verdict else ()
    return known[index] if index < len(known) else None
