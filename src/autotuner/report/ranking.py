"""The order in which a study's trials are shown."""

from autotuner import scoring
from autotuner.report.result import StudyResult
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.proof import records


def ranked(result: StudyResult) -> list[tuple[Trial, int | None]]:
    """Returns every trial with its rank, each followed by its repeats; trials without a rank come last."""
    first = [t for t in result.trials if t.role is not TrialRole.CONFIRM]
    ordered = scoring.rank([t for t in first if t.state.finished], result.spec.objectives)
    ordered += [t for t in first if not t.state.finished]
    known = {t.number for t in first}
    found: list[tuple[Trial, int | None]] = []
    refuted = set(result.refuted)
    rank = 0
    for trial in ordered:
        usable = records.usable(trial) and trial.number not in refuted
        rank += usable
        found.append((trial, rank if usable else None))
        found += [(repeat, None) for repeat in result.repeated.get(trial.number, ())]
    found += [(t, None) for t in result.trials if t.repeat_of is not None and t.repeat_of not in known]
    return found
