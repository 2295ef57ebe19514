"""Short answer of a study, stored when it ends so that listing studies does not read their trials."""

from collections.abc import Sequence

from autotuner import scoring
from autotuner.study.base import FrozenModel
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.tuning import confirmation
from autotuner.tuning.ending import Conclusion, Ending


class Answer(FrozenModel):
    """The trial to use and how much it gains."""

    ending: Ending
    trial: int | None = None
    """Number of the trial to use; None if nothing is feasible or nothing was measured yet."""
    configuration: str = ""
    value: float | None = None
    """Its first objective in the metric's unit: the mean of its repeats, or its only measurement."""
    change: float | None = None
    """Relative change of the metric against the default (0.1 is 10% up), from repeats only."""


def answer_of(spec: StudySpec, found: Conclusion, trials: Sequence[Trial]) -> Answer:
    """The answer for a conclusion."""
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
