"""One trial: lease -> deploy -> prove -> measure every scenario at every level -> score -> release.

Whatever happens, a :class:`Trial` comes back: with a verdict, or with a named failure. Only a cancellation and our own
defects pass through as exceptions.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import anyio
from anyio.to_thread import run_sync

from autotuner import scoring
from autotuner.events.types import Event, Notice, PhaseEntered, WindowProgress
from autotuner.net.info import get_json, get_text
from autotuner.plugins.benchmark import Benchmark, FixedLevels, Progress, Window
from autotuner.plugins.deployer import DeployContext, Deployer, Endpoint
from autotuner.plugins.engine import Engine
from autotuner.store import files
from autotuner.store.paths import data_home
from autotuner.study.base import Value, value_text
from autotuner.study.failure import Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, Identity, Labels, LaunchPlan
from autotuner.study.measurement import Measurement
from autotuner.study.parameters.environment import PREFIX, tuned_variables
from autotuner.study.signals import from_outside
from autotuner.study.spec import EngineSpec, Model, StudySpec
from autotuner.study.trial import Phase, Trial, TrialState
from autotuner.study.verdict import Verdict
from autotuner.study.workload import LoadLevel, Scenario
from autotuner.tuning.surroundings import world_changed
from autotuner.tuning.trials.cpu_noise import DISTURBED, Neighbors
from autotuner.tuning.trials.leases import Leases
from autotuner.tuning.trials.start_failures import start_failure
from autotuner.tuning.trials.telemetry import Telemetry
from autotuner.tuning.trials.unanswered import unanswered

T = TypeVar("T")

Note = Callable[[Event], None]
"""Takes one event of this trial into the study's stream."""

LOG_LINES = 2000
EVIDENCE_LINES = 40
"""Lines of the log that are kept with a failure; its cause is looked for in more."""
"""Of the server's log, looked through for what it decided at start."""
DEATH_NEWS_S = 1.0
"""How long failing requests wait for the news that the server has died, which is then their cause. A child process
tells at once; a container's engine on a busy machine takes some tenths of a second."""


@dataclass(frozen=True)
class TrialTools:
    """What every trial of a study works with."""

    spec: StudySpec
    engine: Engine
    deployer: Deployer
    benchmark: Benchmark
    owner_id: str
    model: Model
    """As the target finds it."""
    neighbors: Neighbors = field(default_factory=Neighbors)
    told: Callable[[Mapping[str, str]], Sequence[str]] = lambda _: ()
    """Takes what a running server tells of itself; one line for each fact that differs from the other trials'."""
    engine_spec: EngineSpec | None = None
    """What every launch has; None: the study's engine alone."""


class _Where(TypedDict):
    """What the trial's events have in common."""

    study: str
    trial: int
    scenario: str
    level: str


class TrialRunner:
    """Runs one trial to its end. ``folder`` is the trial's own, empty one."""

    def __init__(self, tools: TrialTools, trial: Trial, leases: Leases, folder: Path, note: Note) -> None:
        self._tools = tools
        self._leases = leases
        self._folder = folder
        self._note = note
        self._trial = trial.model_copy(update={"state": TrialState.RUNNING, "started_at": time.time()})
        self._phase = Phase.QUEUED
        self._since = time.monotonic()
        self._spent: dict[str, float] = {}
        self._limit: anyio.CancelScope | None = None
        self._left_s: float | None = None

    async def run(self) -> Trial:
        """The finished trial: ``done``, ``failed`` (the configuration's fault) or ``void`` (the environment's)."""
        try:
            changes = await self._leased()
        except TrialFailedError as error:
            changes = self._failed(error.failure)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(files.seal, self._folder)
        self._enter(Phase.DONE)
        return self._trial.model_copy(update={**changes, "phases": self._spent, "finished_at": time.time()})

    def cut_off(self) -> Trial:
        """The trial after :meth:`run` was cancelled: no result."""
        changes = {"state": TrialState.VOID, "phases": self._spent, "finished_at": time.time()}
        return self._trial.model_copy(update=changes)

    async def _leased(self) -> dict[str, Any]:
        """The GPUs first: to wait for them is no fault of the configuration, and not charged to its time."""
        tools = self._tools
        limit_s = self._tools.spec.search.trial_timeout_s
        engine_spec = tools.engine_spec or tools.spec.engine
        variables = tuned_variables(tools.spec.parameters)
        plan = tools.engine.launch(tools.model, engine_spec, self._trial.configuration, variables)
        count = plan.gpus if tools.deployer.launches else 0
        await run_sync(self._make_folder)
        async with (
            self._leases.gpus(count, tools.deployer.gpus, reap=tools.deployer.reap, note=self._notice) as gpus,
            Telemetry(tools.deployer, gpus, self._folder) as self._telemetry,
        ):
            self._trial = self._trial.model_copy(update={"gpus": len(gpus)})
            with anyio.move_on_after(limit_s) as self._limit:
                return await self._deployed(plan, gpus)
        message = f"not finished after {limit_s:g} s"
        remedy = "raise search.trial_timeout or shorten the workload"
        raise TrialFailedError(Failure(cause=FailureCause.TRIAL_TIMEOUT, message=message, remedy=remedy))

    async def _deployed(self, plan: LaunchPlan, gpus: tuple[Gpu, ...]) -> dict[str, Any]:
        context = DeployContext(
            labels=Labels(study=self._trial.study, trial=self._trial.number, owner=self._tools.owner_id),
            folder=self._folder,
            explain=self._explain,
            on_phase=self._enter,
            lease_port=self._leases.port,
            gpus=gpus,
            note=self._notice,
        )
        self._enter(Phase.LAUNCHING)
        async with self._tools.deployer.deploy(plan, context) as endpoint:
            self._enter(Phase.READY)
            try:
                return await self._on(endpoint, plan)
            finally:
                self._enter(Phase.RELEASING)

    def _make_folder(self) -> None:
        """Request records go there, whatever the deployer."""
        try:
            if self._folder.is_relative_to(data_home()):
                files.make_private(data_home())
            files.make_private(self._folder)
        except OSError as error:
            message = f"{self._folder} cannot be made: {error.strerror or error}"
            remedy = "set AUTOTUNER_HOME to a folder with room that you may write"
            raise TrialFailedError(Failure(cause=FailureCause.DISK_FULL, message=message, remedy=remedy)) from error

    async def _on(self, endpoint: Endpoint, plan: LaunchPlan) -> dict[str, Any]:
        self._trial = self._trial.model_copy(update={"argv": endpoint.argv, "command": endpoint.command})
        await self._prove_applied(endpoint, plan)
        before = await endpoint.identity()
        self._trial = self._trial.model_copy(update={"identity": before, "resolved": await self._resolved(endpoint)})
        self._same_world(await endpoint.facts())
        windows = []
        for number, scenario in enumerate(self._tools.spec.workload.scenarios):
            policy = FixedLevels(self._tools.spec.workload.levels)
            seen = list[Measurement]()
            while (level := policy.next(seen)) is not None:
                seen.append(await self._window(endpoint, scenario, level, f"{number}-{len(seen)}"))
                await _same_server(endpoint, before)
            windows += seen
        self._enter(Phase.SCORING)
        return self._scored(tuple(windows))

    def _same_world(self, facts: Mapping[str, str]) -> None:
        """A server of another build is not measured: it could not be compared with the others."""
        build = self._trial.resolved.get("build")
        told = {**facts, **({"server build": str(build)} if build else {})}
        if changed := self._tools.told(told):
            raise TrialFailedError(world_changed(changed))

    async def _prove_applied(self, endpoint: Endpoint, plan: LaunchPlan) -> None:
        """Every tuned value must be in the argv or the environment of the process that runs, or the result would be
        another one's."""
        environment = await endpoint.environment() if plan.tuned_env else None
        if environment is not None:
            for name, text in plan.tuned_env.items():
                if environment.get(name) != text:
                    raise _not_applied(f"{PREFIX}{name}", text, environment.get(name))
        if not endpoint.argv:
            return
        planned = plan.argv(host="", port=0)
        for name, value in plan.tuned.items():
            asked, seen = (self._tools.engine.flag_value(argv, name) for argv in (planned, endpoint.argv))
            if asked != seen:
                raise _not_applied(name, value, seen)

    async def _resolved(self, endpoint: Endpoint) -> dict[str, Any]:
        engine = self._tools.engine
        if not self._tools.deployer.launches:
            return {}
        url = endpoint.info_url or endpoint.url
        info = await get_json(url + engine.info_path) if engine.info_path else None
        metrics = await get_text(url + engine.metrics_path) if engine.metrics_path else ""
        return engine.resolved(info or {}, metrics, await endpoint.log_tail(LOG_LINES))

    async def _window(self, endpoint: Endpoint, scenario: Scenario, level: LoadLevel, name: str) -> Measurement:
        """One window; measured again once when other processes took CPU in it, and the quieter one is kept."""
        neighbors = self._tools.neighbors
        first = await self._attempt(endpoint, scenario, level, f"records-{name}-0.parquet")
        if not neighbors.seen(first.self_check.foreign_cpu_cores, again=False):
            return await self._answered(endpoint, first)
        taken = [first]
        used = f"{DISTURBED} {first.self_check.foreign_cpu_cores:.2f} CPU cores"
        if neighbors.again():
            self._notice(f"{used} during the window: measuring it again", scenario, level)
            taken.append(await self._attempt(endpoint, scenario, level, f"records-{name}-1.parquet"))
            if not neighbors.seen(taken[1].self_check.foreign_cpu_cores, again=True):
                return await self._answered(endpoint, taken[1])
            if not neighbors.again():
                self._notice("the machine stays busy: disturbed windows are no longer measured twice")
        quietest = min(taken, key=lambda m: m.self_check.foreign_cpu_cores or 0.0)
        tries = "2 times tried" if len(taken) > 1 else "tried once"
        busy = f"{DISTURBED} {quietest.self_check.foreign_cpu_cores:.2f} CPU cores, {tries}"
        found = quietest.model_copy(update={"warnings": (*quietest.warnings, busy)})
        return await self._answered(endpoint, found)

    async def _attempt(self, endpoint: Endpoint, scenario: Scenario, level: LoadLevel, records: str) -> Measurement:
        self._enter(Phase.WARMING, scenario, level)

        def on_progress(progress: Progress) -> None:
            if self._phase is not Phase.MEASURING:
                self._enter(Phase.MEASURING, scenario, level)
            self._note(WindowProgress(**self._where(scenario, level), **asdict(progress)))

        spec = self._tools.spec
        window = Window(
            scenario=scenario,
            level=level,
            workload=spec.workload,
            labels=Labels(study=self._trial.study, trial=self._trial.number, owner=self._tools.owner_id),
            folder=self._folder,
            records_name=records,
            slos=spec.slos,
            objectives=spec.objectives,
            headers=endpoint.headers,
            on_progress=on_progress,
        )
        measured = await or_died(lambda: self._tools.benchmark.measure(endpoint, window), endpoint)
        measured = self._telemetry.added_to(_per_gpu(measured, self._trial.gpus))
        if measured.failed:
            with anyio.move_on_after(DEATH_NEWS_S):
                raise TrialFailedError(await endpoint.died())
        return measured

    async def _answered(self, endpoint: Endpoint, measured: Measurement) -> Measurement:
        """The measurement, unless no request succeeded: that is a failure, and on a busy machine the machine's."""
        if measured.requests > measured.failed:
            return measured
        failure = unanswered(measured)
        raise TrialFailedError(failure.model_copy(update={"log_tail": await endpoint.log_tail()}))

    def _scored(self, measurements: tuple[Measurement, ...]) -> dict[str, Any]:
        spec = self._tools.spec
        verdict: Verdict = scoring.score(
            measurements,
            spec.objectives,
            spec.slos,
            min_success_rate=spec.min_success_rate,
            expected=[(s.text, level) for s in spec.workload.scenarios for level in spec.workload.levels],
        )
        failure = None
        limited = [m for m in measurements if m.self_check.client_limited]
        if limited:
            failure = Failure(
                cause=FailureCause.CLIENT_LIMITED,
                message="the load generator could not keep up: " + "; ".join(limited[0].self_check.reasons),
                remedy="lower the load, or measure from a machine with a free core",
            )
        return {"state": TrialState.DONE, "measurements": measurements, "verdict": verdict, "failure": failure}

    def _explain(self, exit_code: int | None, tail: str, ready: bool) -> Failure:
        found = self._tools.engine.explain(exit_code, tail, ready=ready)
        found = start_failure(found, exit_code, tail, ready=ready) or found
        if found is not None:
            return found.model_copy(update={"log_tail": found.log_tail or tail})
        if outside := from_outside(exit_code, tail, ready=ready):
            return outside
        if ready and exit_code == 0:  # what most servers do on SIGTERM
            message = "the server shut down under load with exit code 0, as when it is asked to"
            remedy = "find out what ended it (a service manager, another user)"
            cause = FailureCause.ENVIRONMENT
            return Failure(cause=cause, message=message, remedy=remedy, exit_code=exit_code, log_tail=tail)
        ended = "ended" if exit_code is None else f"ended with exit code {exit_code}"
        return Failure(
            cause=FailureCause.CRASH_UNDER_LOAD if ready else FailureCause.CRASH_LOADING,
            message=f"the server {ended} {'under load' if ready else 'while loading'}",
            remedy="read the last lines of its log",
            exit_code=exit_code,
            log_tail=tail,
        )

    def _failed(self, failure: Failure) -> dict[str, Any]:
        void = failure.blame is not Blame.CONFIGURATION
        last = "\n".join(failure.log_tail.splitlines()[-EVIDENCE_LINES:])
        failure = failure.model_copy(update={"log_tail": last})
        return {"state": TrialState.VOID if void else TrialState.FAILED, "failure": failure}

    def _notice(self, text: str, scenario: Scenario | None = None, level: LoadLevel | None = None) -> None:
        if text.strip():
            self._note(Notice(text=text, **self._where(scenario, level)))

    def _where(self, scenario: Scenario | None, level: LoadLevel | None) -> _Where:
        return {
            "study": self._trial.study,
            "trial": self._trial.number,
            "scenario": scenario.text if scenario else "",
            "level": level.text if level else "",
        }

    def _enter(self, phase: Phase, scenario: Scenario | None = None, level: LoadLevel | None = None) -> None:
        now = time.monotonic()
        if phase is not self._phase and Phase.QUEUED in {phase, self._phase}:
            self._count_time(waits=phase is Phase.QUEUED)
        self._spent[self._phase.value] = self._spent.get(self._phase.value, 0.0) + now - self._since
        self._phase = phase
        self._since = now
        where = self._where(scenario, level)
        self._note(PhaseEntered(phase=phase, gpus=self._trial.gpus, simulated=self._trial.simulated, **where))

    def _count_time(self, *, waits: bool) -> None:
        """A place in a queue, for GPUs of a machine or in a cluster, is no fault of the configuration."""
        if not waits:
            self._trial = self._trial.model_copy(update={"started_at": time.time()})
        if self._limit is not None and waits:
            self._left_s = self._limit.deadline - anyio.current_time()
            self._limit.deadline = math.inf
        elif self._limit is not None and self._left_s is not None:
            self._limit.deadline = anyio.current_time() + self._left_s


def _not_applied(name: str, asked: Value, seen: Value) -> TrialFailedError:
    return TrialFailedError(
        Failure(
            cause=FailureCause.VALUE_NOT_APPLIED,
            message=f"{name}={value_text(asked)} was asked for, the running server has {seen!r}",
            remedy="this is a defect of the tuner or its plugin: please report it",
        )
    )


def _per_gpu(measured: Measurement, gpus: int) -> Measurement:
    """With the throughput of each leased GPU, which compares configurations of different sizes."""
    rate = measured.value("output_throughput", None)
    if rate is None or not gpus:
        return measured
    return measured.model_copy(update={"scalars": {**measured.scalars, "output_throughput_per_gpu": rate / gpus}})


async def _same_server(endpoint: Endpoint, before: Identity) -> None:
    """Raises ``TrialFailedError`` unless the server that was measured still answers. One that just died is told by its
    own cause, not as a changed identity."""
    try:
        after = await endpoint.identity()
    except TrialFailedError as error:
        with anyio.move_on_after(DEATH_NEWS_S):
            raise TrialFailedError(await endpoint.died()) from error
        raise
    if after != before:
        raise TrialFailedError(
            Failure(
                cause=FailureCause.IDENTITY_CHANGED,
                message=f"another server answered after the measurement ({before.id} became {after.id})",
                remedy="end what else uses this address, or give this study ports of its own",
            )
        )


async def or_died(work: Callable[[], Awaitable[T]], endpoint: Endpoint) -> T:
    """The work's result, unless the server ends first: then ``TrialFailedError`` with the server's cause.

    A benchmark that fails because its server just died is the server's failure, so a failing one waits for that news.
    """
    results: list[T] = []
    errors: list[Exception] = []
    deaths: list[Failure] = []
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            deaths.append(await endpoint.died())
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            results.append(await work())
        except Exception as error:
            errors.append(error)
            await anyio.sleep(DEATH_NEWS_S)
        tasks.cancel_scope.cancel()
    if deaths:
        raise TrialFailedError(deaths[0])
    if errors:
        raise errors[0]
    return results[0]
