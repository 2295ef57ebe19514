"""The proof: the winner and the default are measured again, interleaved, so that drift of the machine hits both alike.

What is still to do follows from the stored trials alone; that makes a resumed confirmation no special case.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autotuner import scoring
from autotuner.study.objective import Objective
from autotuner.study.trial import Trial, TrialRole, TrialState

CANDIDATES = 3
"""How many candidates are confirmed before the study gives up on finding a winner that stays feasible."""


@dataclass(frozen=True)
class Repeat:
    """One confirmation still to do."""

    of: Trial


def candidate(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    """The best feasible trial that its repeats do not refute, None when nothing is feasible (or all are refuted)."""
    ranked = scoring.rank([t for t in trials if t.role is not TrialRole.CONFIRM], objectives)
    promising = [t for t in ranked if usable(t)][:CANDIDATES]
    return next((t for t in promising if not _refuted(repeats_of(t, trials))), None)


def usable(trial: Trial) -> bool:
    """Feasible, and measured well enough to be ranked."""
    verdict = trial.verdict
    return trial.state is TrialState.DONE and verdict is not None and verdict.feasible and verdict.rankable


def repeats_of(trial: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """The finished confirmations of a trial, in order."""
    return [t for t in trials if t.role is TrialRole.CONFIRM and t.repeat_of == trial.number and t.state.finished]


def _refuted(repeats: Sequence[Trial]) -> bool:
    bad = sum(not usable(t) for t in repeats)
    return bad * 2 > max(len(repeats), 2)


def next_repeat(trials: Sequence[Trial], objectives: Sequence[Objective], repeats: int) -> Repeat | None:
    """The next confirmation, None when the proof is complete.

    Pairs are counterbalanced (D W, W D, D W ...). A default that is itself the winner needs no proof; a default that
    did not even run leaves only the winner to be repeated.
    """
    winner = candidate(trials, objectives)
    default = next((t for t in trials if t.role is TrialRole.DEFAULT and t.state.finished), None)
    if winner is None or winner.role is TrialRole.DEFAULT:
        return None
    have_winner = len(repeats_of(winner, trials))
    if default is None or default.state is not TrialState.DONE:
        return Repeat(winner) if have_winner < repeats else None
    have_default = len(repeats_of(default, trials))
    if have_winner >= repeats and have_default >= repeats:
        return None
    if have_winner == have_default:
        return Repeat(default if have_default % 2 == 0 else winner)
    return Repeat(default if have_default < have_winner else winner)
