"""Environment faults: which trials are repeated, and when the study has to stop."""

from collections.abc import Iterable, Sequence

from autotuner.errors import EnvironmentFaultError
from autotuner.study.failure import Blame, Failure
from autotuner.study.trial import Trial, TrialState
from autotuner.tuning.study_trials import Job
from autotuner.tuning.trials.failure_consequences import is_fatal, last_log_line


class StudyFaultError(EnvironmentFaultError):
    """The machine, not a configuration, is at fault; the study stopped and can be resumed. ``details``: ``cause`` and
    ``tries``."""

    def __init__(self, failure: Failure, tries: int) -> None:
        self.failure = failure
        times = f" ({tries} times in a row)" if tries > 1 else ""
        super().__init__(
            f"{failure.cause.value}: {failure.message}{times}{_last_line(failure)}",
            remedy=failure.remedy,
            details={"cause": failure.cause.value, "tries": tries},
        )


class CannotStartError(StudyFaultError):
    """The server fails in the same way with every configuration, the default included."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        failures = [t.failure for t in trials if t.failure is not None]
        failure = failures[0]
        super().__init__(failure, len(trials))
        if len(trials) > 1:
            times = f"{len(trials)} launches failed in the same way and do not count"
        else:
            times = "no parameter is at fault, and the launch does not count"
        what = f"{failure.cause.value}: {failure.message}{_last_line(failure)}"
        self.message = f"the server cannot start ({times}): {what}"
        self.remedy = failure.remedy or "correct the cause and run the study again"


def _last_line(failure: Failure) -> str:
    line = last_log_line(failure)
    return f'; last log line: "{line}"' if line and line not in failure.message else ""


def retry_notice(failure: Failure) -> str:
    """The notice about a trial that is repeated."""
    return f"{failure.cause.value}: {failure.message}; not counted; trying again"


class Faults:
    """Counts environment faults in a row. A trial with one is repeated, until there are too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._in_a_row = 0
        self._retries: list[Job] = []
        self.fatal: StudyFaultError | None = None
        """Why the study has to stop; None while it may continue."""

    def retry(self) -> Job | None:
        """The next trial to repeat, before any new one; None if there is none."""
        return self._retries.pop(0) if self._retries else None

    def judge(self, trial: Trial) -> str:
        """Records a finished trial; returns the notice if it will be repeated, otherwise an empty text."""
        failure = trial.failure
        if self.fatal is not None:
            return ""
        if trial.state is not TrialState.VOID or failure is None:
            self._in_a_row = 0
            return ""
        if failure.blame is not Blame.CONFIGURATION:  # otherwise it is the default, which is launched twice
            self._in_a_row += 1
        if is_fatal(failure) or self._in_a_row >= self._most:
            self.fatal = StudyFaultError(failure, self._in_a_row)
            return ""
        job = Job(trial.role, trial.configuration, trial.repeat_of, trial.block, trial.rationale, trial.engine_default)
        self._retries.append(job)
        return retry_notice(failure)

    def give_up(self, trials: Iterable[Trial]) -> None:
        """Stops the study because these trials show that the server cannot start."""
        self.fatal = CannotStartError(list(trials))
