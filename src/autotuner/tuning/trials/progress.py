"""Phases of a running trial: their events, the seconds spent in each, and the time limit."""

import math
import time
from collections.abc import Callable
from typing import TypedDict

import anyio

from autotuner.events.types import Event, Notice, PhaseEntered, WindowProgress
from autotuner.plugins.benchmark import Progress
from autotuner.study.trial import Phase
from autotuner.study.workload import LoadLevel, Scenario
from autotuner.tuning.trials.running_trial import TrialDraft

Note = Callable[[Event], None]
"""Appends one event of a trial to the study's stream."""


class _Place(TypedDict):
    """Fields that all events of a trial share."""

    study: str
    trial: int
    scenario: str
    level: str


class TrialProgress:
    """Progress of a trial.

    Time in a queue, for GPUs or in a cluster, is not charged to the configuration: the time limit pauses, and
    ``started_at`` is the end of the wait.
    """

    def __init__(self, draft: TrialDraft, note: Note) -> None:
        self._draft = draft
        self._note = note
        self.phase = Phase.QUEUED
        self._since = time.monotonic()
        self.spent_s: dict[str, float] = {}
        """Seconds by phase, without the current one."""
        self.started_at = time.time()
        """Seconds since the epoch."""
        self._limit: anyio.CancelScope | None = None
        self._left_s: float | None = None

    @property
    def left_s(self) -> float:
        """Seconds until the trial's time limit; infinite without one."""
        return math.inf if self._limit is None else self._limit.deadline - anyio.current_time()

    def limit(self, scope: anyio.CancelScope) -> None:
        """Sets the scope whose deadline is the trial's time limit."""
        self._limit = scope

    def enter(
        self,
        phase: Phase,
        scenario: Scenario | None = None,
        level: LoadLevel | None = None,
        *,
        short_window: bool = False,
    ) -> None:
        """Enters a phase; ``warming`` and ``measuring`` belong to one window, which may be a short one."""
        now = time.monotonic()
        if phase is not self.phase and Phase.QUEUED in {phase, self.phase}:
            self._count_time(waits=phase is Phase.QUEUED)
        self.spent_s[self.phase.value] = self.spent_s.get(self.phase.value, 0.0) + now - self._since
        self.phase = phase
        self._since = now
        place = self._place(scenario, level)
        draft = self._draft
        self._note(
            PhaseEntered(phase=phase, short_window=short_window, gpus=draft.gpus, simulated=draft.simulated, **place)
        )

    def window(self, seen: Progress, scenario: Scenario, level: LoadLevel) -> None:
        """Reports the benchmark's running window."""
        self._note(
            WindowProgress(
                elapsed_s=seen.elapsed_s,
                total_s=seen.total_s,
                completed=seen.completed,
                failed=seen.failed,
                output_throughput=seen.output_throughput,
                **self._place(scenario, level),
            )
        )

    def notice(self, text: str, scenario: Scenario | None = None, level: LoadLevel | None = None) -> None:
        """Reports a message to the user; an empty one is ignored."""
        if text.strip():
            self._note(Notice(text=text, **self._place(scenario, level)))

    def _place(self, scenario: Scenario | None, level: LoadLevel | None) -> _Place:
        return {
            "study": self._draft.study,
            "trial": self._draft.number,
            "scenario": scenario.text if scenario else "",
            "level": level.text if level else "",
        }

    def _count_time(self, *, waits: bool) -> None:
        if not waits:
            self.started_at = time.time()
        if self._limit is not None and waits:
            self._left_s = self._limit.deadline - anyio.current_time()
            self._limit.deadline = math.inf
        elif self._limit is not None and self._left_s is not None:
            self._limit.deadline = anyio.current_time() + self._left_s
