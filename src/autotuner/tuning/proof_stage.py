"""Proof of a study: repeats of the default and its best challengers, interleaved and one at a time."""

from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning import confirmation
from autotuner.tuning.study_trials import Job, StudyTrials


class ProofStage:
    """Proposes repeats until the proof is complete; see :mod:`autotuner.tuning.confirmation`."""

    slots = 1
    """Repeats run alone, so that all are measured under one condition."""

    def __init__(self, spec: StudySpec, trials: StudyTrials) -> None:
        self._spec = spec
        self._trials = trials
        self._known = self._interference()

    def next(self) -> Job | None:
        """The next repeat; None when the proof is complete."""
        found = confirmation.next_repeat(list(self._trials), self._spec.objectives, self._spec.confirm)
        return Job(TrialRole.CONFIRM, found.configuration, found.number) if found else None

    def tell(self, trial: Trial) -> None:
        """Does nothing: the next repeat follows from the stored trials."""

    def latest_s(self, trial: Trial) -> float | None:
        """None: the search's time does not limit repeats."""
        return None

    def found_interference(self) -> str:
        """The notice about interference that this proof has newly shown; empty if it has shown none."""
        share = self._interference()
        return confirmation.interference_text(share) if self._known is None and share is not None else ""

    def _interference(self) -> float | None:
        return confirmation.interference(list(self._trials), self._spec.objectives)
