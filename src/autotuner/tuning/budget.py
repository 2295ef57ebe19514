"""Budgets of the search: wall-clock time and GPU hours, and why a search ends.

Both cover the search including the default's trial; the proof comes on top. Time in a queue is not charged.
"""

import time
from collections.abc import Callable, Collection, Iterable
from statistics import median

from autotuner.study.spec import SearchSpec
from autotuner.study.trial import Phase, Trial, TrialRole, TrialState

Steady = Callable[[], float]


class _Stopwatch:
    """Counts the seconds that it runs."""

    def __init__(self, steady: Steady, spent_s: float = 0.0) -> None:
        self._steady = steady
        self._before = spent_s
        self._since = None

    _since: float | None

    @property
    def spent_s(self) -> float:
        return self._before + (0.0 if self._since is None else self._steady() - self._since)

    def run(self, *, on: bool) -> None:
        if on and self._since is None:
            self._since = self._steady()
        elif not on:
            self._before = self.spent_s
            self._since = None


class SearchClock:
    """Wall-clock time of the search, by a monotonic clock.

    It runs while the search does, however many trials run at once, and stops while all running trials wait in a queue.
    """

    def __init__(self, steady: Steady = time.monotonic) -> None:
        self._steady = steady
        self._on = False
        self.known = False
        """Whether the time that earlier sessions used has been set."""
        self._search = _Stopwatch(steady)
        self._working: dict[int, _Stopwatch] = {}
        self._waiting: set[int] = set()

    @property
    def spent_s(self) -> float:
        """Seconds so far."""
        return self._search.spent_s

    def set(self, spent_s: float) -> None:
        """Sets the seconds that earlier sessions used, so that a resumed study does not get its time twice."""
        self._search = _Stopwatch(self._steady, spent_s)
        self.known = True

    @property
    def running(self) -> Collection[int]:
        """Numbers of the running trials."""
        return self._working.keys()

    def worked_s(self, trial: int) -> float:
        """Seconds that a running trial has spent outside a queue."""
        return self._working[trial].spent_s

    def start(self) -> None:
        """The search begins or resumes."""
        self._on = True
        self._set()

    def stop(self) -> None:
        """The search is over, or interrupted."""
        self._on = False
        self._set()

    def began(self, trial: int) -> None:
        """A trial begins, in the queue."""
        self._working[trial] = _Stopwatch(self._steady)
        self.entered(trial, Phase.QUEUED)

    def entered(self, trial: int, phase: Phase) -> None:
        """A running trial entered another phase."""
        if trial in self._working:
            waits = phase is Phase.QUEUED
            self._working[trial].run(on=not waits)
            (self._waiting.add if waits else self._waiting.discard)(trial)
            self._set()

    def ended(self, trial: int) -> None:
        """A trial has ended."""
        self._working.pop(trial, None)
        self._waiting.discard(trial)
        self._set()

    def _set(self) -> None:
        all_wait = bool(self._working) and self._waiting >= self._working.keys()
        self._search.run(on=self._on and not all_wait)


class Budget:
    """Decides whether another trial may start. ``least_s`` is the least duration of a trial in seconds, used until one
    has been measured."""

    def __init__(self, search: SearchSpec, clock: SearchClock, *, least_s: float = 0.0) -> None:
        self._search = search
        self._clock = clock
        self._least_s = least_s

    def used_up(self, trials: Iterable[Trial]) -> str:
        """Why no further trial may start; empty while one may. A trial that would not end in time does not start."""
        charged = [t for t in trials if t.role is not TrialRole.CONFIRM]
        return self._time_used_up(charged) or self._gpu_hours_used_up(charged)

    def _time_used_up(self, trials: Collection[Trial]) -> str:
        limit = self._search.time_s
        if limit is None:
            return ""
        left = limit - self._clock.spent_s
        needed = self.typical_s(trials)
        if left <= 0:
            return time_used_up(limit)
        return time_too_short(limit, left, needed) if needed > left else ""

    def _gpu_hours_used_up(self, trials: Collection[Trial]) -> str:
        limit = self._search.gpu_hours
        if limit is None:
            return ""
        typical_s = self.typical_s(trials)
        spent_s = sum(self._charged_s(t, typical_s) * t.gpus for t in trials)
        next_s = typical_s * median([t.gpus for t in trials] or [0])
        if spent_s >= limit * 3600:
            return gpu_hours_used_up(limit)
        too_few = spent_s + next_s > limit * 3600
        return gpu_hours_too_few(limit, limit - spent_s / 3600, next_s / 3600) if too_few else ""

    def _charged_s(self, trial: Trial, typical_s: float) -> float:
        """Seconds that the trial held its GPUs; for a running one, what it will have held when it ends."""
        if trial.number in self._clock.running:
            return max(self._clock.worked_s(trial.number), typical_s)
        # A run that was killed did not store the phases of its last trial.
        return worked_s(trial) if trial.phases else typical_s

    def typical_s(self, trials: Iterable[Trial]) -> float:
        """Median duration of a completed trial in seconds. Crashes end earlier and say nothing about it."""
        known = [worked_s(t) for t in trials if t.state is TrialState.DONE and t.role is not TrialRole.CONFIRM]
        return median(known) if known else self._least_s

    def latest_s(self, trials: Iterable[Trial]) -> float | None:
        """Time on the search's clock at which a running trial is cut off: one trial's duration past the limit. None if
        there is no limit."""
        limit = self._search.time_s
        return None if limit is None else limit + self.typical_s(trials)


def time_used_up(limit_s: float) -> str:
    """Why the search ends after its time."""
    return f"time budget ({limit_s:g} s) used up"


def time_too_short(limit_s: float, left_s: float, needed_s: float) -> str:
    """Why the search ends before its time: a further trial would not end in it."""
    return f"time budget ({limit_s:g} s): {left_s:.0f} s left, and a trial takes about {needed_s:.0f} s"


def gpu_hours_used_up(limit: float) -> str:
    """Why the search ends after its GPU hours."""
    return f"GPU-hour budget ({limit:g}) used up"


def gpu_hours_too_few(limit: float, left: float, needed: float) -> str:
    """Why the search ends before its GPU hours are used up."""
    return f"GPU-hour budget ({limit:g}): {left:.2g} left, and a trial takes about {needed:.2g}"


def trials_used_up(trials: int) -> str:
    """Why the search ends after its number of trials."""
    return f"trial budget ({trials}) used up"


_BUDGETS = {"trial budget (": "trials", "time budget (": "time", "GPU-hour budget (": "gpu_hours"}
"""By beginning of the reasons above: the budget."""


def budget_of(why: str) -> str | None:
    """Which budget a search has used up that ended for this reason: ``trials``, ``time``, ``gpu_hours``, or none."""
    return next((budget for text, budget in _BUDGETS.items() if why.startswith(text)), None)


def limit_of(why: str) -> str:
    """The budget and its limit in such a reason: ``time budget (600 s)``."""
    return why.partition(")")[0] + ")"


def worked_s(trial: Trial) -> float:
    """Seconds that a finished trial took, without time in a queue."""
    return sum(seconds for phase, seconds in trial.phases.items() if phase != Phase.QUEUED.value)


def searched_s(trials: Iterable[Trial]) -> float:
    """Wall-clock time of the search, reconstructed from its trials for studies that were stored without it."""
    ended = (t for t in trials if t.role is not TrialRole.CONFIRM and t.state.finished)
    return covered_s(ended)


def covered_s(trials: Iterable[Trial]) -> float:
    """Seconds in which at least one of the trials ran."""
    spans = sorted((t.started_at, t.finished_at) for t in trials if t.started_at and t.finished_at)
    total = 0.0
    until = 0.0
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
