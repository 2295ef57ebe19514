"""The proof as a stage of a study: repeats of the default and its best challengers, one at a time."""

from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.proof.blocks import next_repeat
from autotuner.tuning.proof.noise import interference, interference_text
from autotuner.tuning.study_trials import Job, StudyTrials


class ProofStage:
    """Proposes repeats until the proof is complete; see :mod:`autotuner.tuning.proof.blocks`."""

    slots = 1
    """Repeats run alone, so that all are measured under one condition."""

    def __init__(self, spec: StudySpec, trials: StudyTrials) -> None:
        self._spec = spec
        self._trials = trials
        self._known = self._interference()

    async def next(self) -> Job | None:
        """The next repeat; None when the proof is complete."""
        found = next_repeat(list(self._trials), self._spec.objectives, self._spec.confirm)
        if found is None:
            return None
        return Job(TrialRole.CONFIRM, found.trial.configuration, found.trial.number, found.block)

    def tell(self, trial: Trial) -> None:
        """Does nothing: the next repeat follows from the stored trials."""

    def latest_s(self, trial: Trial) -> float | None:
        """None: the search's time does not limit repeats."""
        return None

    def found_interference(self) -> str:
        """The notice about interference that this proof has newly shown; empty if it has shown none."""
        share = self._interference()
        return interference_text(share) if self._known is None and share is not None else ""

    def _interference(self) -> float | None:
        return interference(list(self._trials), self._spec.objectives)
