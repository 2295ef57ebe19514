"""Which trials of a long study a report contains."""

from autotuner.report.result import StudyResult
from autotuner.study.trial import Trial

MOST_TRIALS = 1_000
"""Trials of a report, unless the answer rests on more."""
_BEST = 0.3
"""Share of the best ones; the others are spread evenly over the study."""


def answer_trials(result: StudyResult) -> list[Trial]:
    """The trials that the answer rests on, the most important one first: winner, default, challengers, their repeats,
    those that did not hold up, and the Pareto front."""
    named = [result.winner, result.default, result.best, result.nearest]
    numbers = dict.fromkeys(trial.number for trial in named if trial is not None)
    numbers |= dict.fromkeys((*result.repeated, *result.refuted, *result.front))
    known = {trial.number: trial for trial in result.trials}
    found = [known[number] for number in numbers if number in known]
    return [*found, *(repeat for trial in found for repeat in result.repeated.get(trial.number, ()))]


def shown_trials(result: StudyResult, most: int = MOST_TRIALS) -> frozenset[int]:
    """The numbers of the trials that a report contains: all of them, unless there are too many."""
    if len(result.trials) <= most:
        return frozenset(trial.number for trial in result.trials)
    best = [trial.number for trial, rank in result.ranking if rank is not None][: round(most * _BEST)]
    kept = {*(trial.number for trial in answer_trials(result)), *best}
    others = [trial.number for trial in result.trials if trial.number not in kept]
    count = max(0, most - len(kept))
    return frozenset(kept | {others[i * len(others) // count] for i in range(count)})
