"""The order in which a study's trials are shown."""

from collections.abc import Collection, Mapping, Sequence

from autotuner import scoring
from autotuner.study.objective import Objective
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.proof import records

Ranking = tuple[tuple[Trial, int | None], ...]


def ranking(
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    *,
    refuted: Collection[int],
    repeated: Mapping[int, Sequence[Trial]],
) -> Ranking:
    """Ranks trials.

    Args:
        trials: All trials of a study.
        objectives: Its objectives.
        refuted: Numbers of the challengers that did not hold up in a repeat; they have no rank.
        repeated: The repeats of each trial that has some, by its number.

    Returns:
        Every trial with its rank, each followed by its repeats; trials without a rank come last.
    """
    first = [t for t in trials if t.role is not TrialRole.CONFIRM]
    ordered = scoring.rank([t for t in first if t.state.finished], objectives)
    ordered += [t for t in first if not t.state.finished]
    known = {t.number for t in first}
    found: list[tuple[Trial, int | None]] = []
    rank = 0
    for trial in ordered:
        usable = records.usable(trial) and trial.number not in refuted
        rank += usable
        found.append((trial, rank if usable else None))
        found += [(repeat, None) for repeat in repeated.get(trial.number, ())]
    found += [(t, None) for t in trials if t.repeat_of is not None and t.repeat_of not in known]
    return tuple(found)
