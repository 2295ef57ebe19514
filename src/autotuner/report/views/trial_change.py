"""How much a trial changes each objective relative to the default."""

from autotuner import scoring
from autotuner.report.headline import amount_text, signed
from autotuner.report.numbers import percent
from autotuner.report.result import StudyResult, objective_value
from autotuner.study.base import FrozenModel
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.proof import decision


class TrialChange(FrozenModel):
    """A change with the sign of the metric: -0.1 is 10% less time, or 10% less throughput."""

    amount: float
    """Relative, or in the metric's unit if ``absolute`` is set."""
    low: float | None = None
    """Ends of the interval, if the proof compared the trial with the default and its interval is bounded."""
    high: float | None = None
    absolute: bool = False
    """Whether these are differences in the metric's unit, as for shares."""
    repeats: int = 0
    """Repeats of each side that they rest on; 0: one launch of each, which says little."""
    effect: scoring.Effect | None = None
    """What the interval shows; None without one."""
    text: str
    """``+21%``; with a tilde in front if it rests on one launch of each."""


def trial_changes(result: StudyResult, trial: Trial) -> tuple[TrialChange | None, ...]:
    """Returns the change of each objective, in order; None where there is nothing to compare.

    Args:
        result: The study.
        trial: A trial of its search.
    """
    return tuple(_change(result, trial, index) for index in range(len(result.spec.objectives)))


def change_text(result: StudyResult, trial: Trial) -> str:
    """Returns the change of the first objective; empty if there is nothing to compare."""
    found = _change(result, trial, 0)
    return "" if found is None else found.text


def _change(result: StudyResult, trial: Trial, index: int) -> TrialChange | None:
    default = result.default
    if default is None or trial.role is not TrialRole.SEARCH or trial.state is not TrialState.DONE:
        return None
    objective = result.spec.objectives[index]
    # Most trials have no repeats, and looking for what these show takes several passes over all trials.
    repeated = trial.number in result.repeated
    gain = _gain(result, trial, index) if repeated else None
    if gain is not None:
        amount, low, high = signed(objective, gain)
        return TrialChange(
            amount=amount,
            low=low if gain.bounded else None,
            high=high if gain.bounded else None,
            absolute=gain.absolute,
            repeats=gain.repeats,
            effect=gain.effect if gain.bounded else None,
            text=amount_text(objective, gain, amount),
        )
    theirs = result.repeat_values(default, index) if repeated else []
    ours = result.repeat_values(trial, index) if repeated else []
    change = scoring.change(theirs, ours)
    if change is not None:
        return TrialChange(amount=change, repeats=min(len(theirs), len(ours)), text=percent(change))
    if (trial.number in result.in_company) is not (default.number in result.in_company):
        return None  # one ran alone and the other did not, so the difference would be that of the conditions
    base = objective_value(default, index)
    single = objective_value(trial, index)
    rough = scoring.change([base], [single]) if base and single else None
    return None if rough is None else TrialChange(amount=rough, text=f"~{percent(rough)}")


def _gain(result: StudyResult, trial: Trial, index: int) -> scoring.Gain | None:
    return decision.gain(trial, result.trials, result.spec.objectives, result.spec.confirm, index)
