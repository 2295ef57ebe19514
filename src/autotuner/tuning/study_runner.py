"""One study: the default first, then what the search proposes, then the proof; every finished trial is durable before
the next one starts.

A resumed study takes the same path as a new one: the search is told the stored trials again, in order.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio.to_thread import run_sync

from autotuner.errors import EnvironmentFaultError
from autotuner.events.journal import Journal
from autotuner.events.types import (
    Event,
    Notice,
    PhaseEntered,
    Remaining,
    TrialFinished,
    TrialProposed,
    WorldLearned,
)
from autotuner.plugins.search import Search, Stop
from autotuner.store import Store
from autotuner.store.paths import trial_folder
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Blame, Failure
from autotuner.study.owner import Owner
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning import confirmation
from autotuner.tuning.budget import Budget, SearchClock, searched_s
from autotuner.tuning.owners import OwnerWatch
from autotuner.tuning.planning.plan import trial_counts, windows_s
from autotuner.tuning.planning.prepared import Prepared
from autotuner.tuning.surroundings import Surroundings, world_changed
from autotuner.tuning.trials.judge import hopeless, is_fatal, last_words, settled
from autotuner.tuning.trials.leases import Leases
from autotuner.tuning.trials.trial_runner import RunContext, TrialRunner

_LOOK_S = 1.0
"""How often a trial that runs is held against the time of the search."""


logger = logging.getLogger(__name__)


class StudyFaultError(EnvironmentFaultError):
    """The machine, not a configuration, is at fault; the study stopped and can be resumed. ``details``: ``cause`` and
    ``tries``."""

    def __init__(self, failure: Failure, tries: int) -> None:
        self.failure = failure
        times = f" ({tries} times in a row)" if tries > 1 else ""
        super().__init__(
            f"{failure.cause.value}: {failure.message}{times}{_said_last(failure)}",
            remedy=failure.remedy,
            details={"cause": failure.cause.value, "tries": tries},
        )


def _said_last(failure: Failure) -> str:
    words = last_words(failure)
    return f'; it said last: "{words}"' if words and words not in failure.message else ""


class CannotStartError(StudyFaultError):
    """The server fails in the same way with every configuration, the default included."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        failures = [t.failure for t in trials if t.failure is not None]
        failure = failures[0]
        super().__init__(failure, len(trials))
        times = f"{len(trials)} launches failed in the same way" if len(trials) > 1 else "no parameter is at fault"
        self.message = f"the server cannot start ({times}): {failure.cause.value}: {failure.message}" + _said_last(
            failure
        )
        again = "correct this and run again: these launches do not count"
        self.remedy = f"{failure.remedy}; {again}" if failure.remedy else again


@dataclass(frozen=True)
class _Job:
    """A trial to make."""

    role: TrialRole
    configuration: Configuration
    repeat_of: int | None = None


class StudyRunner:
    """Runs the trials of one prepared study under one owner, up to ``search.parallel`` at a time."""

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        owner: Owner,
        journal: Journal,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._prepared = prepared
        self._spec = prepared.spec
        self._store = store
        self._owner = owner
        self._journal = journal
        self._owners = OwnerWatch(store)
        self._surroundings = surroundings or Surroundings(prepared)
        self._context = RunContext(prepared, owner.id, compare=self._surroundings.told)
        self._trials: dict[int, Trial] = {}
        self._retry: list[_Job] = []
        self._faults = 0
        self._fatal: StudyFaultError | None = None
        self._clock = SearchClock()
        self._budget = Budget(prepared.spec.search, self._clock, least_s=windows_s(prepared.spec))
        self._changed = anyio.Event()
        self._most_trials, self._most_repeats = trial_counts(prepared)
        self.stopped_because = ""

    async def run(self) -> list[Trial]:
        """All trials of the study, stored ones included. Raises :class:`StudyFaultError`."""
        for trial in await run_sync(self._store.trials.all, self._spec.name):
            self._trials[trial.number] = trial
        await self._searched()
        if self._spec.confirm.repeats:
            known = self._interference()
            await self._drain(self._next_confirmation, lambda _: None, 1)
            share = self._interference()
            if known is None and share is not None:
                self._notice(confirmation.interference_text(share))
        return list(self._trials.values())

    async def _searched(self) -> None:
        search = self._prepared.search()
        for trial in self._told():
            if trial.state.finished:
                search.tell(trial)
        record = await run_sync(self._store.studies.get, self._spec.name)
        spent_s = record.search_s if record is not None else None
        self._clock.set(searched_s(self._trials.values()) if spent_s is None else spent_s)
        self._clock.start()
        try:
            await self._drain(lambda: self._next_search(search), search.tell, self._spec.search.parallel)
        finally:
            self._clock.stop()
            with anyio.CancelScope(shield=True):
                await self.keep_time()

    async def keep_time(self) -> None:
        """Stores the time that the search has used so far; called now and then, for a run may be killed."""
        if self._clock.known:
            await run_sync(self._store.studies.set_search_time, self._spec.name, self._clock.spent_s)

    def _told(self) -> list[Trial]:
        """What the search knows of: everything but repeats and what never became a result."""
        wanted = (t for t in self._trials.values() if t.role is not TrialRole.CONFIRM)
        return sorted((t for t in wanted if t.state is not TrialState.VOID), key=lambda t: t.number)

    async def _drain(self, next_job: Callable[[], _Job | None], tell: Callable[[Trial], None], slots: int) -> None:
        """Runs jobs, at most ``slots`` at a time, until there are none and none is running."""
        running = 0

        async def work(trial: Trial) -> None:
            nonlocal running
            try:
                finished = await self._run(trial)
                if finished.state.finished:
                    tell(finished)
            finally:
                running -= 1
                self._changed.set()

        async with anyio.create_task_group() as tasks:
            while self._fatal is None:
                job = next_job() if running < slots else None
                if job is None and running == 0:
                    break
                if job is None:
                    self._changed = anyio.Event()
                    await self._changed.wait()
                    continue
                running += 1
                tasks.start_soon(work, await self._added(job))
        if self._fatal is not None:
            raise self._fatal

    def _next_search(self, search: Search) -> _Job | None:
        if self._retry:
            return self._retry.pop(0)
        told = self._told()
        if not any(t.role is TrialRole.DEFAULT for t in told):
            return _Job(TrialRole.DEFAULT, DEFAULT)
        if any(t.role is TrialRole.DEFAULT and not t.state.finished for t in told):
            return None
        why = self._budget.used_up(self._trials.values()) or self._nothing_to_tune(len(told))
        if why:
            logger.info("search stopped after %d trials: %s", len(told), why)
            self.stopped_because = why
            return None
        asked = search.ask(told, self._spec.search.parallel)
        if isinstance(asked, Stop):
            logger.info("search stopped by the strategy after %d trials: %s", len(told), asked.why)
            self.stopped_because = asked.why
            return None
        logger.info("search proposes, knowing %d trials: %s", len(told), dict(asked.values))
        return _Job(TrialRole.SEARCH, asked)

    def _nothing_to_tune(self, made: int) -> str:
        if not self._spec.parameters:
            return "there is nothing to tune"
        return f"all {made} trials of the budget are made" if made >= self._spec.search.trials else ""

    def _next_confirmation(self) -> _Job | None:
        if self._retry:
            return self._retry.pop(0)
        trials = sorted(self._trials.values(), key=lambda t: t.number)
        found = confirmation.next_repeat(trials, self._spec.objectives, self._spec.confirm)
        return _Job(TrialRole.CONFIRM, found.configuration, found.number) if found else None

    def _interference(self) -> float | None:
        return confirmation.interference(list(self._trials.values()), self._spec.objectives)

    async def _added(self, job: _Job) -> Trial:
        wanted = Trial(
            study=self._spec.name,
            number=-1,
            role=job.role,
            configuration=job.configuration,
            repeat_of=job.repeat_of,
            created_at=time.time(),
        )
        trial = await run_sync(lambda: self._store.trials.add(wanted, owner_id=self._owner.id))
        self._trials[trial.number] = trial
        self._journal.note(
            TrialProposed(
                study=trial.study,
                trial=trial.number,
                role=trial.role,
                values=trial.configuration.values,
                repeat_of=trial.repeat_of,
                left=self._left(trial),
            )
        )
        return trial

    def _notice(self, text: str, trial: int | None = None) -> None:
        self._journal.note(Notice(study=self._spec.name, trial=trial, text=text))

    def _left(self, newest: Trial) -> Remaining:
        """Launches still to be started after the newest one, at most. The search is over once repeats begin."""
        counted = [t for t in self._trials.values() if t.state is not TrialState.VOID]
        repeats = sum(t.role is TrialRole.CONFIRM for t in counted)
        search = 0 if newest.role is TrialRole.CONFIRM else self._most_trials - (len(counted) - repeats)
        return Remaining(search=max(0, search), repeats=max(0, self._most_repeats - repeats))

    async def _run(self, trial: Trial) -> Trial:
        leases = Leases(
            self._store,
            owner_id=self._owner.id,
            study=self._spec.name,
            trial=trial.number,
            dead=self._owners.dead,
        )
        folder = trial_folder(self._spec.name, trial.number)

        def note(event: Event) -> None:
            if isinstance(event, PhaseEntered):
                self._clock.entered(trial.number, event.phase)
            self._journal.note(event)

        runner = TrialRunner(self._context, trial, leases, folder, note)
        self._trials[trial.number] = trial.replaced(state=TrialState.RUNNING)
        await run_sync(self._store.trials.update, self._trials[trial.number])
        self._clock.began(trial.number)
        try:
            finished = await self._in_one_world(runner, trial)
        finally:
            self._clock.ended(trial.number)
        finished = settled(finished, self._trials.values())
        with anyio.CancelScope(shield=True):
            try:
                await self._journal.flush()
            finally:
                await run_sync(self._store.trials.finish, finished, self._ended(finished))
        self._trials[trial.number] = finished
        self._judge(finished)
        if self._fatal is None:
            await self._give_up_if_hopeless()
        return finished

    async def _in_one_world(self, runner: TrialRunner, trial: Trial) -> Trial:
        """The trial; void where model, server or machine are not those of the other trials, or change meanwhile."""
        changed = await self._surroundings.changed()
        finished = await self._in_time(runner, trial) if not changed else runner.cut_off()
        changed = changed or await self._surroundings.changed()
        if known := self._surroundings.news():
            self._journal.note(WorldLearned(study=self._spec.name, facts=known))
            await run_sync(self._store.studies.set_world, self._spec.name, known)
        if not changed:
            return finished
        return finished.replaced(state=TrialState.VOID, failure=world_changed(changed))

    async def _in_time(self, runner: TrialRunner, trial: Trial) -> Trial:
        """The trial, cut off where it lasts far beyond the time of the search. The default is not: without it there
        is nothing to compare with, and ``trial_timeout`` bounds it."""
        latest_s = self._budget.latest_s(self._trials.values())
        if trial.role is not TrialRole.SEARCH or latest_s is None:
            return await runner.run()
        finished: Trial | None = None
        async with anyio.create_task_group() as tasks:

            async def cut_off() -> None:
                while (left := latest_s - self._clock.spent_s) > 0:  # noqa: ASYNC110 - the clock may stand still
                    await anyio.sleep(min(max(left, 0.05), _LOOK_S))
                tasks.cancel_scope.cancel()

            tasks.start_soon(cut_off)
            finished = await runner.run()
            tasks.cancel_scope.cancel()
        if finished is None:
            self._notice(f"cut off: the time budget of {self._spec.search.time_s:g} s is used up", trial.number)
            return runner.cut_off()
        return finished

    def _judge(self, trial: Trial) -> None:
        """Counts environment faults; a trial that met one is made again, until the machine proves hopeless."""
        failure = trial.failure
        if self._fatal is not None:
            return
        if trial.state is not TrialState.VOID or failure is None:
            self._faults = 0
            return
        if failure.blame is not Blame.CONFIGURATION:  # else the default, which gets a second try
            self._faults += 1
        if is_fatal(failure) or self._faults >= self._spec.search.max_environment_faults:
            self._fatal = StudyFaultError(failure, self._faults)
            return
        self._notice(f"{failure.cause.value}: {failure.message}; not counted, trying again", trial.number)
        self._retry.append(_Job(trial.role, trial.configuration, trial.repeat_of))

    async def _give_up_if_hopeless(self) -> None:
        """Ends a study whose server cannot start, whatever is tuned. What it tried so far is made again once the fault
        is corrected."""
        found = hopeless(self._trials.values(), self._spec.parameters)
        if not found:
            return
        for trial in found:
            self._trials[trial.number] = trial.replaced(state=TrialState.VOID)
        voided = [(self._trials[t.number], self._ended(self._trials[t.number])) for t in found]
        with anyio.CancelScope(shield=True):
            await self._journal.flush()
            await run_sync(self._store.trials.amend, self._spec.name, voided, time.time())
        self._fatal = CannotStartError(found)

    def _ended(self, trial: Trial) -> dict[str, object]:
        return TrialFinished.of(trial, self._spec.slos).payload()
