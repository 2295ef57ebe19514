"""Short answer of a study, stored when it ends so that listing studies does not read their trials."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from autotuner import scoring
from autotuner.study.base import FrozenModel
from autotuner.study.metric import Direction
from autotuner.study.search.importance import ParameterImportance
from autotuner.study.search.stopping import GainBound
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.tuning.ending import Conclusion, Ending
from autotuner.tuning.proof import records


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
        gain = found.gains[0] if found.gains and found.best is winner else None
        if gain is not None and not gain.absolute:
            change = -gain.relative if objective.direction is Direction.MIN else gain.relative
        else:
            default_values = records.values(found.default, trials, objective, 0)
            change = scoring.change(default_values, records.values(winner, trials, objective, 0))
    return Answer(
        ending=found.ending,
        trial=winner.number,
        configuration=winner.configuration.text,
        value=records.estimate(winner, trials),
        change=change,
    )


class Findings(FrozenModel):
    """What the search and a model of all trials can say at the end of a study."""

    bound: GainBound | None = None
    """How much better than the best trial by the search's model untried configurations can be; None if the search
    cannot tell."""
    importance: tuple[ParameterImportance, ...] = ()
    """How much each parameter matters, the most important first; empty with few trials."""


NO_FINDINGS = Findings()


def stored_findings(summary: Mapping[str, object]) -> Findings:
    """The findings in a stored summary; empty if it has none, or those of a later version."""
    try:
        return Findings.model_validate(summary.get("findings") or {})
    except ValidationError:
        return NO_FINDINGS
