"""The limits of ``search:`` that are not a number of trials: wall-clock time and GPU hours.

Both are of the search, the default's trial included; the proof comes on top. Places in a queue are not charged.
"""

import time
from collections.abc import Callable, Collection, Iterable
from statistics import median

from autotuner.study.spec import SearchSpec
from autotuner.study.trial import Phase, Trial, TrialRole, TrialState

Steady = Callable[[], float]


class _Stopwatch:
    """Seconds that it ran."""

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
    """The search's wall-clock time, by a steady clock that no change of the date moves.

    It runs while the search does, however many trials run at once, and stands still while all running trials wait in
    a queue.
    """

    def __init__(self, steady: Steady = time.monotonic) -> None:
        self._steady = steady
        self._on = False
        self.known = False
        """Whether it is known what earlier sessions used."""
        self._search = _Stopwatch(steady)
        self._working: dict[int, _Stopwatch] = {}
        self._waiting: set[int] = set()

    @property
    def spent_s(self) -> float:
        """Seconds so far."""
        return self._search.spent_s

    def set(self, spent_s: float) -> None:
        """What earlier sessions used, so that a resumed study does not get its time twice."""
        self._search = _Stopwatch(self._steady, spent_s)
        self.known = True

    @property
    def running(self) -> Collection[int]:
        """Numbers of the trials that have begun and not ended."""
        return self._working.keys()

    def worked_s(self, trial: int) -> float:
        """Seconds that a running trial was out of the queue."""
        return self._working[trial].spent_s

    def start(self) -> None:
        """The search begins, or goes on."""
        self._on = True
        self._set()

    def stop(self) -> None:
        """The search is over, or interrupted."""
        self._on = False
        self._set()

    def began(self, trial: int) -> None:
        """A trial begins; it waits until it is at work."""
        self._working[trial] = _Stopwatch(self._steady)
        self.entered(trial, Phase.QUEUED)

    def entered(self, trial: int, phase: Phase) -> None:
        """A running trial is in another phase."""
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
    """Whether another trial may start. ``least_s`` is what a trial takes at least, until one has been measured."""

    def __init__(self, search: SearchSpec, clock: SearchClock, *, least_s: float = 0.0) -> None:
        self._search = search
        self._clock = clock
        self._least_s = least_s

    def used_up(self, trials: Iterable[Trial]) -> str:
        """Why no further trial may start; empty while one may. A trial that would end too late does not start."""
        charged = [t for t in trials if t.role is not TrialRole.CONFIRM]
        return self._time_used_up(charged) or self._gpu_hours_used_up(charged)

    def _time_used_up(self, trials: Collection[Trial]) -> str:
        limit = self._search.time_s
        if limit is None:
            return ""
        left = limit - self._clock.spent_s
        needed = self.typical_s(trials)
        if left <= 0:
            return f"the time budget of {limit:g} s is used up"
        if needed > left:
            return f"of the time budget of {limit:g} s {left:.0f} s are left, and a trial takes about {needed:.0f} s"
        return ""

    def _gpu_hours_used_up(self, trials: Collection[Trial]) -> str:
        limit = self._search.gpu_hours
        if limit is None:
            return ""
        typical_s = self.typical_s(trials)
        spent_s = sum(self._charged_s(t, typical_s) * t.gpus for t in trials)
        next_s = typical_s * median([t.gpus for t in trials] or [0])
        if spent_s >= limit * 3600:
            return f"the budget of {limit:g} GPU hours is used up"
        if spent_s + next_s > limit * 3600:
            left = limit - spent_s / 3600
            needed = next_s / 3600
            return f"of the budget of {limit:g} GPU hours {left:.2g} are left, and a trial takes about {needed:.2g}"
        return ""

    def _charged_s(self, trial: Trial, typical_s: float) -> float:
        """Seconds that the trial held its GPUs. Of a running one, what it will have held by its end."""
        if trial.number in self._clock.running:
            return max(self._clock.worked_s(trial.number), typical_s)
        # A run that was killed tells no phases of its last trial.
        return worked_s(trial) if trial.phases else typical_s

    def typical_s(self, trials: Iterable[Trial]) -> float:
        """How long a trial takes that is measured to its end; crashes end earlier and promise nothing."""
        known = [worked_s(t) for t in trials if t.state is TrialState.DONE and t.role is not TrialRole.CONFIRM]
        return median(known) if known else self._least_s

    def latest_s(self, trials: Iterable[Trial]) -> float | None:
        """Where on the search's clock a running trial is cut off: one trial's time behind the limit. None: nowhere."""
        limit = self._search.time_s
        return None if limit is None else limit + self.typical_s(trials)


def worked_s(trial: Trial) -> float:
    """Seconds that an ended trial took, places in a queue left out."""
    return sum(seconds for phase, seconds in trial.phases.items() if phase != Phase.QUEUED.value)


def searched_s(trials: Iterable[Trial]) -> float:
    """The search's wall-clock time by its trials' own times, for studies stored before it was kept."""
    ended = (t for t in trials if t.role is not TrialRole.CONFIRM and t.state.finished)
    spans = sorted((t.started_at, t.finished_at) for t in ended if t.started_at and t.finished_at)
    total = 0.0
    until = 0.0
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
