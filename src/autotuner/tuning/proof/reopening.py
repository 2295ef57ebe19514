"""Trials that racing cut because of challengers that the proof has refuted since: the best ones are measured after all,
so that they take their places in the proof as they would without racing."""

from collections.abc import Sequence

from autotuner import scoring
from autotuner.study.objective import Objective
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.racing.cuts import beaten_by, cut_again
from autotuner.tuning.study_trials import Job, Stage
from autotuner.tuning.verdicts import refuted


def reopened(spec: StudySpec, trials: Sequence[Trial]) -> Trial | None:
    """The most promising one of the trials that would not be cut any more; None if all still would.

    Those that miss an SLO themselves stay cut, since the proof does not launch them.
    """
    disproved = {t.number for t in trials if refuted(t, trials)}
    beaten = [t for t in trials if t.state is TrialState.DONE and beaten_by(t, disproved)]
    found = [t for t in beaten if cut_again(spec, t, trials) is None]
    return min(found, key=lambda t: _least_cost(t, spec.objectives), default=None)


class ReopenedStage:
    """Measures the configuration of one trial completely."""

    slots = 1
    """As in the proof."""

    def __init__(self, trial: Trial, search: Stage) -> None:
        self._trial: Trial | None = trial
        self._search = search

    async def next(self) -> Job | None:
        """The trial, once."""
        trial = self._trial
        self._trial = None
        return None if trial is None else Job(TrialRole.SEARCH, trial.configuration, rationale=trial.rationale)

    def tell(self, trial: Trial) -> None:
        """The search learns from it, since it says at the end what may be left to gain."""
        self._search.tell(trial)

    def latest_s(self, trial: Trial) -> float | None:
        """None: the search's time does not limit the proof."""
        return None


def _least_cost(trial: Trial, objectives: Sequence[Objective]) -> tuple[float, int]:
    verdict = trial.verdict
    if verdict is None:
        return (0.0, trial.number)
    bounds = verdict.bounds or (None,) * len(objectives)
    best = tuple(b if v is None else v for v, b in zip(verdict.objectives, bounds, strict=True))
    cost = scoring.log_cost(verdict.replaced(objectives=best), objectives)
    return (0.0 if cost is None else cost, trial.number)
