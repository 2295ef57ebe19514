"""When a search has used up its time or GPU hours. Both are counted over the stored trials, so a resumed study does
not get its budget twice."""

import time
from collections.abc import Iterable

from autotuner.study.spec import SearchSpec
from autotuner.study.trial import Trial, TrialRole


class Budget:
    """The limits of ``search:`` that are not a number of trials."""

    def __init__(self, search: SearchSpec) -> None:
        self._search = search

    def used_up(self, trials: Iterable[Trial]) -> str:
        """Why no further trial may start; empty while one may. Confirmations are not charged."""
        spent = [(_seconds(t), t.gpus) for t in trials if t.role is not TrialRole.CONFIRM]
        wall = sum(seconds for seconds, _ in spent) / self._search.parallel
        if self._search.time_s is not None and wall >= self._search.time_s:
            return f"the time budget of {self._search.time_s:g} s is used up"
        hours = sum(seconds * gpus for seconds, gpus in spent) / 3600
        if self._search.gpu_hours is not None and hours >= self._search.gpu_hours:
            return f"the budget of {self._search.gpu_hours:g} GPU hours is used up"
        return ""


def _seconds(trial: Trial) -> float:
    if trial.started_at is None:
        return 0.0
    return max(0.0, (trial.finished_at or time.time()) - trial.started_at)
