"""What the repeats of a proof show: gains over the default, who may still win, and whether the answer is decided.

:mod:`autotuner.tuning.ending` takes its claims from here, and :mod:`autotuner.tuning.proof.blocks` stops when
:func:`decided` says so, so both judge by the same intervals.

A proof with a fixed number of repeats estimates as earlier versions did. All others compare the values of each block as
a pair (:func:`autotuner.scoring.paired_gain`). The error probability is shared among the challengers that may be
compared and the objectives. Dropping a challenger, by whatever rule, does not affect the intervals of the others.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import fmean

from autotuner import scoring
from autotuner.scoring import Effect, Gain
from autotuner.scoring.anytime import factor, fewest_pairs
from autotuner.study.base import FrozenModel
from autotuner.study.metric import METRICS, Direction, Unit
from autotuner.study.objective import Objective
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.proof.noise import known_noise, measured_noise
from autotuner.tuning.proof.records import (
    challengers,
    default_of,
    engine_defaults,
    launches,
    pairs,
    rankable_blocks,
    rankable_repeats,
    refuted,
    repeats_of,
    values,
)

LEAST_REPEATS = 2
"""Fewest usable repeats on each side for any claim."""
WITHOUT_DEFAULT = 3
"""Launches of a challenger if the default cannot run or missed the SLOs: nothing is compared then, and what is claimed
is that the winner met the SLOs in all of its launches."""

_LUCK = 1.28
"""Standard deviations that a normal variable exceeds in one case of ten."""
_KEPT = ((5, 1), (3, 2))
"""(blocks, contenders that are kept from then on)."""
_UNRANKED = 3
"""Repeats after which a challenger is given up if no block has measured both it and the default well enough."""


class Form(StrEnum):
    """Forms of the answer of a comparison with the default."""

    BETTER = "better"
    """The interval of the gain lies above zero."""
    EQUIVALENT = "equivalent"
    """The whole interval lies within the margin: any difference is smaller than that."""
    WORSE = "worse"
    """The interval lies below zero: the default is better."""
    UNDECIDED = "undecided"
    """Not decided within the blocks of the proof."""
    REFUTED = "refuted"
    """A challenger crashed or missed an SLO in a repeat, and no other one is proven better."""


class Decision(FrozenModel):
    """The answer of the comparison with the default."""

    form: Form
    margin: float
    """Relative difference within which both count as equally good."""
    confidence: float
    """Probability that all intervals hold, those of several challengers and objectives together."""
    blocks: int = 0
    """Repeats on each side behind the intervals of the best challenger."""
    at_most: int = 0
    """Most blocks that the study allows."""


def alpha(trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec) -> float:
    """Error probability of a single interval."""
    found = challengers(trials, objectives)
    repeats = [t for t in trials if t.role is TrialRole.CONFIRM]
    begun = {t.repeat_of for t in repeats}
    repeated = sum(t.number in begun and not refuted(t, repeats) for t in found)
    return shared_alpha(confirm, len(objectives), len(found), len(engine_defaults(trials)), repeated)


def shared_alpha(
    confirm: ConfirmSpec, objectives: int, others: int, other_defaults: int = 0, repeated: int = 0
) -> float:
    """Error probability of a single interval if ``others`` configurations may be compared with the default, and
    ``repeated`` ones are already: more than ``confirm.challengers`` if the search went on after a proof. A challenger
    that replaces a refuted one takes over its share, because a refuted one is never claimed to be better. Defaults of
    other engines are compared in addition to the challengers."""
    compared = max(1, min(confirm.challengers + other_defaults, others), repeated)
    return (1 - confirm.confidence) / (compared * objectives)


def fewest_blocks(confirm: ConfirmSpec, objectives: int, others: int, other_defaults: int = 0) -> int:
    """The smallest number of blocks that can decide anything."""
    return fewest_pairs(shared_alpha(confirm, objectives, others, other_defaults))


def decidable_noise(change: float, blocks: int, level: float) -> float:
    """Largest standard deviation between launches at which an interval of average width can show a gain, or
    equivalence within a margin.

    Args:
        change: The relative gain or margin, e.g. 0.05 for 5%.
        blocks: Blocks that measure both configurations.
        level: Error probability of the interval.
    """
    return math.log1p(change) / (factor(blocks, level) * math.sqrt(2 / blocks))


def gain(
    trial: Trial, trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec, index: int = 0
) -> Gain | None:
    """Gain of a challenger over the default in one objective; None without repeats of both, or if a repeat refuted the
    challenger."""
    default = default_of(trials)
    if default is None or trial.number == default.number or refuted(trial, trials):
        return None
    objective = objectives[index]
    noise = known_noise(trials, index)
    if not confirm.adaptive:
        theirs, ours = (values(t, trials, objective, index) for t in (default, trial))
        if not theirs or not ours:
            return None
        if min(*theirs, *ours) > 0:
            confidence = confirm.confidence
            return scoring.gain(
                theirs, ours, objective.direction, noise=noise, confidence=confidence, margin=confirm.zone
            )
    compared = pairs(default, trial, trials, objective, index)
    if not compared:
        return None
    return scoring.paired_gain(
        compared,
        objective.direction,
        alpha=alpha(trials, objectives, confirm),
        confidence=confirm.confidence,
        noise=noise,
        margin=confirm.zone,
        share=METRICS[objective.metric].unit is Unit.RATIO,
    )


def gains(
    trial: Trial, trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec
) -> tuple[Gain | None, ...]:
    """Gain of a challenger in every objective."""
    return tuple(gain(trial, trials, objectives, confirm, index) for index in range(len(objectives)))


def effects(found: Sequence[Gain | None]) -> set[Effect]:
    """What the gains of one challenger show."""
    return {Effect.UNDECIDED if g is None or g.repeats < LEAST_REPEATS else g.effect for g in found}


def standing(
    trial: Trial, trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec
) -> float | None:
    """The log cost of a trial by its rankable repeats (smaller is better); None without any.

    Where blocks are compared, it is the default's mean plus the mean difference to it, so that a challenger is not
    judged by the drift of the blocks that happened to measure it.
    """
    own = _block_costs(trial, trials, objectives)
    default = default_of(trials)
    if confirm.adaptive and default is not None and default.number != trial.number:
        base = _block_costs(default, trials, objectives)
        differences = [cost - base[block] for block, cost in own.items() if block in base]
        if differences:
            return fmean(base.values()) + fmean(differences)
    return fmean(own.values()) if own else None


def _block_costs(trial: Trial, trials: Sequence[Trial], objectives: Sequence[Objective]) -> dict[int, float]:
    """The log costs of a trial's rankable repeats by block."""
    found = {block: scoring.log_cost(t.verdict, objectives) for block, t in rankable_blocks(trial, trials).items()}
    return {block: cost for block, cost in found.items() if cost is not None}


def _standings(
    field: Sequence[Trial], trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec
) -> dict[int, float]:
    """Known standings by the number of the trial."""
    found = {t.number: standing(t, trials, objectives, confirm) for t in field}
    return {number: place for number, place in found.items() if place is not None}


def contenders(trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec) -> list[Trial]:
    """The challengers that may still win, ordered by their first measurements: at most ``confirm.challengers`` that no
    repeat refuted, without those whose repeats are clearly worse than the best one's (successive elimination).

    An adaptive proof keeps the best two after three blocks, and the best one after five: contenders that are still
    indistinguishable by then differ too little to be worth a launch of each in every block.

    The defaults of other engines are always among them, in addition, until they have the repeats that a comparison
    takes.
    """
    repeats = [t for t in trials if t.role is TrialRole.CONFIRM]  # all that can refute, among many more trials
    holding = [t for t in challengers(trials, objectives) if not refuted(t, repeats)]
    tuned = {t.number for t in [t for t in holding if not t.engine_default][: confirm.challengers]}
    field = [t for t in holding if t.engine_default or t.number in tuned]
    known = _standings(field, trials, objectives, confirm)
    if not known:
        return field
    leader = min((t for t in field if t.number in known), key=lambda t: known[t.number])
    counts = {t.number: len(rankable_repeats(t, trials)) for t in field}
    sd, freedom = measured_noise(trials, objectives)
    sd = max(sd, known_noise(trials))
    wide = scoring.student_t(0.975, freedom) * sd if freedom else math.inf

    def clearly_below(trial: Trial) -> bool:
        if trial.number not in known:
            return False
        both = 1 / counts[trial.number] + 1 / counts[leader.number]
        return known[trial.number] - known[leader.number] > wide * math.sqrt(both)

    wanted = [t for t in field if _not_compared_yet(t, trials)]
    field = [t for t in field if t in wanted or not clearly_below(t)]
    if confirm.adaptive:
        most = max(counts.values())
        kept = next((kept for blocks, kept in _KEPT if most >= blocks), len(field))
        best = sorted(field, key=lambda t: known.get(t.number, -math.inf))[:kept]
        field = [t for t in field if t in best or t in wanted]
    return field


def _not_compared_yet(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether the default of another engine lacks repeats for a comparison. One that cannot be ranked is given up like
    any challenger."""
    found = repeats_of(trial, trials)
    return trial.engine_default and len(rankable_repeats(trial, trials)) < LEAST_REPEATS and len(found) < _UNRANKED


def decided(
    trials: Sequence[Trial], objectives: Sequence[Objective], confirm: ConfirmSpec, field: Sequence[Trial]
) -> bool:
    """Whether further blocks would not change the answer: the leader is better, or no contender can be better by more
    than the margin, or the blocks that are left cannot decide it. A fixed number of repeats is never decided early.

    Args:
        trials: All trials of the study.
        objectives: Its objectives.
        confirm: Its rules of the proof.
        field: The contenders.
    """
    if not confirm.adaptive:
        return False
    default = default_of(trials)
    if default is None or default.state is not TrialState.DONE or not launches(default, trials).held:
        return all(len(repeats_of(t, trials)) >= min(WITHOUT_DEFAULT, confirm.at_most) for t in field)
    known = _standings(field, trials, objectives, confirm)
    if any(t.number not in known and len(repeats_of(t, trials)) < _UNRANKED for t in field) or any(
        _not_compared_yet(t, trials) for t in field
    ):
        return False
    found = {t.number: gains(t, trials, objectives, confirm) for t in field}
    leader = min(known, key=lambda number: known[number], default=None)
    shown = effects(found[leader]) if leader is not None else set()
    if Effect.UNDECIDED not in shown and Effect.BETTER in shown:
        return True
    return all(_no_rival(t, found[t.number], trials, objectives, confirm) for t in field)


def _no_rival(
    trial: Trial,
    found: Sequence[Gain | None],
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    confirm: ConfirmSpec,
) -> bool:
    """Whether a contender is known not to be better in any objective, or is unlikely ever to be decided."""
    shown = effects(found)
    if Effect.UNDECIDED not in shown:
        return Effect.BETTER not in shown
    if all(g is None for g in found):
        return len(repeats_of(trial, trials)) >= _UNRANKED  # never measured well enough beside the default
    left = confirm.at_most - len(repeats_of(trial, trials))
    level = alpha(trials, objectives, confirm)
    open_ = [(g, o) for g, o in zip(found, objectives, strict=True) if g is None or g.effect is Effect.UNDECIDED]
    return all(g is not None and hopeless(g, o.direction, left, level, confirm.zone) for g, o in open_)


def hopeless(found: Gain, direction: Direction, left: int, level: float, margin: float) -> bool:
    """Whether ``left`` more blocks are very unlikely to decide an undecided gain.

    The standard deviation of a pair's difference follows from the width of the interval. It is taken to be smaller than
    estimated by half the deviation of that estimate, and the mean to move away from zero as it does in one case of ten:
    if even then the interval includes zero and extends beyond the margin, the launches are saved. Any rule may end a
    proof, because the interval holds at all numbers of blocks.

    Without finite logs of both ends, the deviation is unknown and more blocks are launched, as for differences, which
    have no logs.
    """
    ends = found.logs(direction) if found.bounded else None
    if ends is None:
        return False
    low, high = ends
    n = found.repeats
    total = n + left
    estimated = (high - low) / 2 / factor(n, level) * math.sqrt(n)
    deviation = estimated * (1 - 0.5 / math.sqrt(2 * (n - 1)))
    half = factor(total, level) * deviation / math.sqrt(total)
    moved = abs(high + low) / 2 + _LUCK * deviation * math.sqrt(1 / n - 1 / total)
    return moved < half and half > margin
