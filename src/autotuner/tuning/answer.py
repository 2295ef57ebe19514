"""A study's answer in a few figures, stored with its end, so that a list of studies needs no trial."""

from collections.abc import Sequence

from autotuner import scoring
from autotuner.study.base import Noun
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.tuning import confirmation
from autotuner.tuning.ending import Conclusion, Ending


class Answer(Noun):
    """What to use, and what it gains."""

    ending: Ending
    trial: int | None = None
    """Number of the trial to use; None: nothing is feasible, or nothing was measured yet."""
    configuration: str = ""
    value: float | None = None
    """Its first objective, in the metric's unit: the mean of its repeats, else its one measurement."""
    change: float | None = None
    """Relative change of the first objective against the default, as the metric moved; from repeats alone."""


def answer_of(spec: StudySpec, found: Conclusion, trials: Sequence[Trial]) -> Answer:
    """The answer that a conclusion gives."""
    winner = found.winner
    if winner is None:
        return Answer(ending=found.ending)
    objective = spec.objectives[0]
    change = None
    if found.default is not None and winner.number != found.default.number:
        default_values = confirmation.values(found.default, trials, objective, 0)
        change = scoring.change(default_values, confirmation.values(winner, trials, objective, 0))
    return Answer(
        ending=found.ending,
        trial=winner.number,
        configuration=winner.configuration.text,
        value=confirmation.estimate(winner, trials),
        change=change,
    )
