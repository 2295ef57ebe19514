"""Runs a study: the search, then the proof; every finished trial is durable before the next one starts."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import anyio
from anyio.to_thread import run_sync

from autotuner.concurrency import first_of
from autotuner.events.journal import Journal
from autotuner.events.types import Event, Notice, PhaseEntered, TrialFinished, TrialProposed, WorldLearned
from autotuner.store import Store
from autotuner.store.paths import trial_folder
from autotuner.store.webhooks.records import WebhookEvent
from autotuner.study.capacity.result import CapacityResult
from autotuner.study.configuration import Configuration
from autotuner.study.measurement import Measurement
from autotuner.study.owner import Owner
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.importance import ParameterImportance
from autotuner.study.search.stopping import GainBound
from autotuner.study.trial import Trial, TrialState
from autotuner.study.workload import CapacityLoad
from autotuner.tuning.budget import SearchClock, budget_of, searched_s
from autotuner.tuning.environment_watch import EnvironmentWatch, environment_changed
from autotuner.tuning.memory.present_terms import in_present_terms
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.proof import records
from autotuner.tuning.proof.reopening import ReopenedStage, reopened
from autotuner.tuning.proof.stage import ProofStage
from autotuner.tuning.racing.cuts import NOT_DECIDED
from autotuner.tuning.retry_or_stop import Faults
from autotuner.tuning.run_liveness import OwnerWatch
from autotuner.tuning.search_stage import SearchStage
from autotuner.tuning.study_trials import Job, Stage, StudyTrials
from autotuner.tuning.trials.capacity_start import capacity_start
from autotuner.tuning.trials.capacity_window import CapacityStart
from autotuner.tuning.trials.failure_consequences import hopeless, settled
from autotuner.tuning.trials.gpu_and_port_leases import Leases
from autotuner.tuning.trials.held_servers import HeldServers
from autotuner.tuning.trials.racing import Race
from autotuner.tuning.trials.trial_runner import RunContext, TrialRunner
from autotuner.tuning.webhooks.notifications import budget_used, is_about_budget

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
"""How often a running trial is compared with the time of the search."""


class StudyRunner:
    """Runs the trials of one prepared study under one owner, up to ``search.parallel`` at a time."""

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        owner: Owner,
        journal: Journal,
        environment: EnvironmentWatch | None = None,
    ) -> None:
        self._prepared = prepared
        self._spec = prepared.spec
        self._store = store
        self._owner = owner
        self._journal = journal
        self._owners = OwnerWatch(store)
        self._environment = environment or EnvironmentWatch(prepared)
        self._context = RunContext(
            prepared,
            owner.id,
            has_run=self._has_run,
        )
        self._trials = StudyTrials()
        self._faults = Faults(prepared.spec.search.max_environment_faults)
        self._clock = SearchClock()
        self._changed = anyio.Event()
        self.stopped_because = ""
        """Why the search ended; empty until then."""
        self.bound: GainBound | None = None
        """How much better than the best trial anything else can be; None until the study is done."""
        self.importance: tuple[ParameterImportance, ...] = ()
        """How much each parameter matters; empty until the study is done."""
        self.winding_down = False
        """Whether no more trials are started, so that the study is not done when the running ones end."""

    def wind_down(self) -> None:
        """Lets the running trials end, and starts no others."""
        self.winding_down = True
        self._changed.set()

    def _has_run(self, configuration: Configuration) -> bool:
        return self._trials.measured(configuration)

    async def run(self) -> list[Trial]:
        """All trials of the study, stored ones included. Raises ``StudyFaultError``."""
        self._trials = StudyTrials(await run_sync(self._store.trials.all, self._spec.name))
        search = await self._search()
        if self._spec.confirm.blocks and not self.winding_down:
            proof = ProofStage(self._spec, self._trials)
            await self._drain(proof)
            while await self._reopen(search):
                await self._drain(proof)
            if text := proof.found_interference():
                self._notice(text)
        if self.winding_down:
            return list(self._trials)
        self.bound = await search.bound()
        self.importance = await run_sync(search.importance)
        return list(self._trials)

    async def _reopen(self, search: SearchStage) -> bool:
        """Measures what was cut because of challengers that the proof has refuted, until enough others are better.
        Returns whether there was anything."""
        found = False
        while not self.winding_down and (trial := reopened(self._spec, list(self._trials))) is not None:
            found = True
            self._notice("measured again: the proof has refuted what had beaten it", trial.number)
            await self._amend([trial.replaced(state=TrialState.VOID, set_aside=NOT_DECIDED)])
            await self._drain(ReopenedStage(trial, search))
        return found

    async def _search(self) -> SearchStage:
        stored = await run_sync(self._store.studies.evidence, self._spec.name)
        evidence = await run_sync(in_present_terms, self._prepared, stored)
        search = SearchStage(self._prepared, self._trials, self._clock, evidence)
        record = await run_sync(self._store.studies.get, self._spec.name)
        spent_s = record.search_s if record is not None else None
        self._clock.set(searched_s(self._trials) if spent_s is None else spent_s)
        self._clock.start()
        before = len(list(self._trials))
        try:
            await self._drain_with_held_servers(search)
        finally:
            self.stopped_because = search.stopped_because
            self._clock.stop()
            with anyio.CancelScope(shield=True):
                await self.keep_time()
        if not self.winding_down and budget_of(self.stopped_because) is not None:
            await self._tell_budget_used(launched=len(list(self._trials)) > before)
        return search

    async def _drain_with_held_servers(self, search: SearchStage) -> None:
        """Runs the search. Its servers may outlive their trials, if the next one differs by flags that they can change
        while they run."""
        async with anyio.create_task_group() as tasks:
            held = HeldServers(tasks, lambda trial, text: self._notice(text, trial))
            self._context = replace(self._context, held=held)
            try:
                await self._drain(search)
            finally:
                self._context = replace(self._context, held=None)
                with anyio.CancelScope(shield=True):
                    await held.end()

    async def _tell_budget_used(self, *, launched: bool) -> None:
        """Tells webhooks, though only once if this run resumes a study whose search had ended before."""
        why = self.stopped_because
        told = [] if launched else await run_sync(self._store.webhooks.told, WebhookEvent.BUDGET_USED, self._spec.name)
        if not any(is_about_budget(data, why) for data in told):
            await run_sync(self._store.webhooks.notify, budget_used(self._spec.name, why))

    async def keep_time(self) -> None:
        """Stores the time that the search has used so far. Called repeatedly, because a run may be killed."""
        if self._clock.known:
            await run_sync(self._store.studies.set_search_time, self._spec.name, self._clock.spent_s)

    async def _drain(self, stage: Stage) -> None:
        """Runs the stage's jobs, as many at a time as it allows, until it has none and none is running."""
        running = 0

        async def work(trial: Trial) -> None:
            nonlocal running
            try:
                finished = await self._run(trial, stage)
                if finished.state.finished:
                    stage.tell(finished)
            finally:
                running -= 1
                self._changed.set()

        async with anyio.create_task_group() as tasks:
            while self._faults.fatal is None:
                # Trials may end while the stage decides, so that its answer is outdated if it is None.
                self._changed = anyio.Event()
                free = running < stage.slots
                job = await self._next(stage) if free else None
                if free and job is None and self._context.held is not None:
                    await self._context.held.end()
                if job is None and running == 0 and not self._changed.is_set():
                    break
                if job is None:
                    await self._changed.wait()
                    continue
                running += 1
                tasks.start_soon(work, await self._added(job))
        if self._faults.fatal is not None:
            raise self._faults.fatal

    async def _next(self, stage: Stage) -> Job | None:
        """The next trial to run; None if there is none, or if the study has been ended while the stage decided."""
        if self.winding_down:
            return None
        job = self._faults.retry() or await stage.next()
        return job if self._faults.fatal is None and not self.winding_down else None

    async def _added(self, job: Job) -> Trial:
        flags = self._spec.as_flags(job.configuration)
        wanted = Trial(
            study=self._spec.name,
            number=-1,  # the store gives it the next one
            role=job.role,
            configuration=job.configuration,
            engine_default=job.engine_default,
            flags=None if flags == job.configuration else flags.values,
            repeat_of=job.repeat_of,
            rationale=job.rationale,
            block=job.block,
            created_at=time.time(),
        )
        trial = await run_sync(lambda: self._store.trials.add(wanted, owner_id=self._owner.id))
        self._trials.put(trial)
        self._journal.note(
            TrialProposed(
                study=trial.study,
                trial=trial.number,
                role=trial.role,
                values=trial.configuration.values,
                engine_default=trial.engine_default,
                repeat_of=trial.repeat_of,
                block=trial.block,
                left=self._trials.remaining(trial, self._prepared.size),
            )
        )
        return trial

    async def _run(self, trial: Trial, stage: Stage) -> Trial:
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

        forecast = await run_sync(self._forecast, trial)

        def start(gpus: int) -> CapacityStart:
            return capacity_start(self._spec, trial, list(self._trials), gpus, forecast)

        context = replace(
            self._context,
            compare=partial(self._environment.changes_in, trial.configuration),
            default=lambda: records.default_of_engine(self._spec, trial.configuration, list(self._trials)),
            baseline=lambda: records.default_of(list(self._trials)),
        )
        short_windows = self._prepared.of(trial.configuration).benchmark.short_windows
        rule = Race(self._spec, trial, lambda: list(self._trials), short_windows=short_windows)
        running = trial.replaced(state=TrialState.RUNNING)

        async def keep(
            looks: Sequence[Measurement], windows: Sequence[Measurement], capacities: Sequence[CapacityResult]
        ) -> None:
            """Stores what was measured, in case the run is interrupted."""
            known = {"looks": tuple(looks), "measurements": tuple(windows), "capacities": tuple(capacities)}
            so_far = running.replaced(**known)
            await run_sync(self._store.trials.update, so_far)

        runner = TrialRunner(context, trial, leases, folder, note, start, rule, keep)
        self._trials.put(running)
        await run_sync(self._store.trials.update, running)
        self._clock.began(trial.number)
        try:
            finished = await self._in_unchanged_environment(runner, trial, stage)
        finally:
            self._clock.ended(trial.number)
        finished = settled(finished, self._trials)
        # Events of a trial come before its end, and the end is stored even if the run is being cancelled.
        with anyio.CancelScope(shield=True):
            try:
                await self._journal.flush()
            finally:
                await run_sync(self._store.trials.finish, finished, self._ended(finished))
        self._trials.put(finished)
        logger.info("trial %d of %s ended as %s", trial.number, trial.study, finished.state.value)
        if text := self._faults.judge(finished):
            self._notice(text, trial.number)
        if self._faults.fatal is None:
            await self._give_up_if_hopeless()
        return finished

    def _forecast(self, trial: Trial) -> Forecast | None:
        """What is predicted for a trial that searches for its capacity."""
        if not any(isinstance(level, CapacityLoad) for level in self._spec.workload.levels):
            return None
        return self._prepared.forecast(trial.configuration)

    async def _in_unchanged_environment(self, runner: TrialRunner, trial: Trial, stage: Stage) -> Trial:
        """The trial; void if model, server or machine are not those of the other trials, or change meanwhile."""
        changed = await self._environment.changes(trial.configuration)
        finished = await self._in_time(runner, trial, stage) if not changed else runner.cut_off()
        changed = changed or await self._environment.changes(trial.configuration)
        if known := self._environment.publish_if_more():
            self._journal.note(WorldLearned(study=self._spec.name, facts=known))
            await run_sync(self._store.studies.set_world, self._spec.name, known)
        if not changed:
            return finished
        return finished.replaced(state=TrialState.VOID, failure=environment_changed(changed))

    async def _in_time(self, runner: TrialRunner, trial: Trial, stage: Stage) -> Trial:
        """The trial, cut off if it lasts far beyond the time of the search."""
        latest_s = stage.latest_s(trial)
        if latest_s is None:
            return await runner.run()

        async def time_is_up() -> None:
            while (left := latest_s - self._clock.spent_s) > 0:  # noqa: ASYNC110 - the clock may stand still
                await anyio.sleep(min(max(left, 0.05), _LOOK_S))

        finished = await first_of(runner.run, time_is_up)
        if finished is None:
            self._notice(f"cut off: time budget ({self._spec.search.time_s:g} s) used up", trial.number)
            return runner.cut_off()
        return finished

    async def _give_up_if_hopeless(self) -> None:
        """Ends a study whose server cannot start, whatever is tuned. Its trials so far are repeated once the fault is
        corrected."""
        found = hopeless(self._trials, self._spec.parameters)
        if not found:
            return
        await self._amend([trial.replaced(state=TrialState.VOID) for trial in found])
        self._faults.give_up(found)

    async def _amend(self, changed: Sequence[Trial]) -> None:
        """Stores ended trials that count differently by now."""
        for trial in changed:
            self._trials.put(trial)
        with anyio.CancelScope(shield=True):
            await self._journal.flush()
            amended = [(trial, self._ended(trial)) for trial in changed]
            await run_sync(self._store.trials.amend, self._spec.name, amended, time.time())

    def _notice(self, text: str, trial: int | None = None) -> None:
        self._journal.note(Notice(study=self._spec.name, trial=trial, text=text))

    def _ended(self, trial: Trial) -> dict[str, object]:
        return TrialFinished.of(trial, self._spec.slos).payload()
