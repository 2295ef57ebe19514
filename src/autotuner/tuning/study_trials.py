"""Current trials of one study, and jobs for new ones."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from autotuner.events.types import Remaining
from autotuner.study.configuration import Configuration
from autotuner.study.search.rationale import Rationale
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.planning.study_size import StudySize


@dataclass(frozen=True)
class Job:
    """A trial to run."""

    role: TrialRole
    configuration: Configuration
    repeat_of: int | None = None
    """For confirmations, the number of the trial whose configuration is launched again."""
    block: int | None = None
    """For confirmations, the block of the proof."""
    rationale: Rationale | None = None
    """Why the search proposed the configuration."""
    engine_default: bool = False
    """Whether it is the default of an engine other than the baseline."""


class Stage(Protocol):
    """A part of a study that decides what is launched next."""

    slots: int
    """Trials that may run at the same time."""

    async def next(self) -> Job | None:
        """The next trial to run; None while the stage waits for running ones, or if it is complete."""

    def tell(self, trial: Trial) -> None:
        """Takes a trial that ended with a result."""

    def latest_s(self, trial: Trial) -> float | None:
        """Time on the search's clock, in seconds, at which a running trial is cut off; None for never."""


class StudyTrials:
    """The newest state of every trial, by number."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials = {trial.number: trial for trial in trials}

    def put(self, trial: Trial) -> None:
        """Adds a trial, or replaces it by its newer state."""
        self._trials[trial.number] = trial

    def __iter__(self) -> Iterator[Trial]:
        return iter(sorted(self._trials.values(), key=lambda t: t.number))

    def searched(self) -> list[Trial]:
        """Trials that the search knows: all except repeats and void ones."""
        return [t for t in self if t.role is not TrialRole.CONFIRM and t.state is not TrialState.VOID]

    def measured(self, configuration: Configuration) -> bool:
        """Whether a server with this configuration has started and been measured."""
        return any(
            t.state is TrialState.DONE and t.configuration.key == configuration.key for t in self._trials.values()
        )

    def remaining(self, newest: Trial, size: StudySize) -> Remaining:
        """Launches that may still follow the newest one. The search is over once repeats begin."""
        repeats = sum(t.role is TrialRole.CONFIRM and t.state is not TrialState.VOID for t in self)
        search = 0 if newest.role is TrialRole.CONFIRM else size.trials - len(self.searched())
        return Remaining(search=max(0, search), repeats=max(0, size.repeats - repeats))
