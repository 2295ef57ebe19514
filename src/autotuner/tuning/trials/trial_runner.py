"""Runner of one trial: lease, deploy, check, measure every scenario at every level, score, release.

Returns a :class:`Trial` with a verdict or a failure in any case; only cancellations and defects of autotuner are
raised.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from autotuner.net.info import get_json, get_text
from autotuner.plugins.deployer import DeployContext, Endpoint
from autotuner.scoring.cost import with_costs
from autotuner.store import files
from autotuner.store.paths import data_home
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, Labels, LaunchPlan
from autotuner.study.measurement import Measurement
from autotuner.study.quality.result import QualityState
from autotuner.study.search.cut import Cut
from autotuner.study.trial import Phase, Trial, TrialState
from autotuner.study.verdict import Verdict
from autotuner.tuning.environment_watch import environment_changed
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.quality.gate import QualityGate, References
from autotuner.tuning.trials.capacity_window import CapacityStart
from autotuner.tuning.trials.gpu_and_port_leases import Leases
from autotuner.tuning.trials.held_servers import HeldServers, Lease, Place, place_of_its_own
from autotuner.tuning.trials.progress import Note, TrialProgress
from autotuner.tuning.trials.racing import Race
from autotuner.tuning.trials.running_trial import TrialDraft, TrialOutcome
from autotuner.tuning.trials.server_checks import prove_applied, same_server
from autotuner.tuning.trials.server_end_cause import explain
from autotuner.tuning.trials.telemetry import Telemetry
from autotuner.tuning.trials.window_repeats import WindowRepeats
from autotuner.tuning.trials.windows import Keep, Windows, forget
from autotuner.tuning.verdicts import verdict_on

LOG_LINES = 2000
"""Lines of the server's log that are searched for what it decided at start."""


@dataclass(frozen=True)
class RunContext:
    """Context that the trials of one run of a study share."""

    prepared: Prepared
    owner_id: str
    repeats: WindowRepeats = field(default_factory=WindowRepeats)
    compare: Callable[[Mapping[str, str]], Sequence[str]] = lambda _: ()
    """Compares facts that a running server reports with those of the other trials; one line for each difference."""
    default: Callable[[], Trial | None] = lambda: None
    """The trial of the engine's default, once it has been measured."""
    baseline: Callable[[], Trial | None] = lambda: None
    """The trial of the study's default, once it has been measured."""
    has_run: Callable[[Configuration], bool] = lambda _: False
    """Whether a server with this configuration has been measured in the study."""
    held: HeldServers | None = None
    """Servers that wait for another trial; None: every trial launches its own."""


class TrialRunner:
    """Runs one trial.

    Args:
        context: What all trials of a run share.
        trial: The trial as stored before its launch.
        leases: Leases GPUs and ports for it.
        folder: The trial's own.
        note: Takes its events.
        start: Where its capacity search begins, as the number of GPUs becomes known.
        race: Says whether it ends early; None: all levels are measured.
        keep: Takes its windows after each of them; None: they are known at its end.
    """

    def __init__(
        self,
        context: RunContext,
        trial: Trial,
        leases: Leases,
        folder: Path,
        note: Note,
        start: Callable[[int], CapacityStart] = lambda _: CapacityStart(),
        race: Race | None = None,
        keep: Keep | None = None,
    ) -> None:
        self._context = context
        self._prepared = context.prepared
        self._engine = context.prepared.of(trial.configuration)
        self._spec = context.prepared.spec
        self._leases = leases
        self._folder = folder
        self._labels = Labels(study=trial.study, trial=trial.number, owner=context.owner_id)
        self._start = start
        self._race = race
        self._keep = keep or forget
        self._draft = TrialDraft(trial)
        own = trial.replaced(configuration=context.prepared.own(trial.configuration))
        several = bool(self._spec.engines)
        references = References(context.default, context.baseline, several=several)
        self._quality = QualityGate(self._engine, own, folder, references, self._labels)
        self._progress = TrialProgress(self._draft, note)

    async def run(self) -> Trial:
        """The finished trial: ``done``, ``failed`` (the configuration's fault) or ``void`` (the environment's)."""
        try:
            outcome = await self._leased()
        except TrialFailedError as error:
            outcome = TrialOutcome.failed(error.failure)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(files.seal, self._folder)
        self._progress.enter(Phase.DONE)
        return self._finished(outcome)

    def cut_off(self) -> Trial:
        """The trial after :meth:`run` was cancelled: not a result."""
        return self._finished(TrialOutcome.cut_off())

    def _finished(self, outcome: TrialOutcome) -> Trial:
        progress = self._progress
        return self._draft.finished(
            outcome, phases=progress.spent_s, started_at=progress.started_at, finished_at=time.time()
        )

    async def _leased(self) -> TrialOutcome:
        """Leases GPUs before the time limit starts, since the wait is not the configuration's fault."""
        deployer = self._engine.deployer
        limit_s = self._spec.search.trial_timeout_s
        configuration = self._draft.proposed.configuration
        self._draft.usd_per_hour = self._prepared.usd_per_hour(configuration)
        if failure := self._misfit(configuration):
            raise TrialFailedError(failure)
        plan = self._prepared.launch(configuration)
        count = plan.gpus if deployer.launches else 0
        await run_sync(self._make_folder)
        lease = partial(self._leases.gpus, count, deployer.gpus, reap=deployer.reap, note=self._progress.notice)
        async with (
            self._place(plan, lease) as place,
            Telemetry(deployer, place.gpus, self._folder) as telemetry,
        ):
            self._draft.gpus = len(place.gpus)
            self._draft.server_of = place.server_of
            with anyio.move_on_after(limit_s) as limit:
                self._progress.limit(limit)
                outcome = await self._deployed(plan, place, telemetry)
                place.reusable = outcome.state is TrialState.DONE
                return outcome
        message = f"not finished after {limit_s:g} s"
        remedy = "raise search.trial_timeout or shorten the workload"
        raise TrialFailedError.because(FailureCause.TRIAL_TIMEOUT, message, remedy=remedy)

    def _misfit(self, configuration: Configuration) -> Failure | None:
        """Why the server is not launched for lack of memory. What has run fits, whatever is estimated of it now."""
        if self._draft.proposed.repeat_of is not None or self._context.has_run(configuration):
            return None
        found = self._prepared.misfit(configuration)
        return None if found is None else found.failure

    def _place(self, plan: LaunchPlan, lease: Lease) -> AbstractAsyncContextManager[Place]:
        """Repeats have servers of their own: how much launches differ is part of what they measure."""
        launch = partial(self._launched, plan)
        held = self._context.held
        if held is None or self._draft.proposed.repeat_of is not None:
            return place_of_its_own(lease, launch)
        changes = partial(self._progress.enter, Phase.LAUNCHING)
        return held.place(self._draft.number, self._engine, plan, lease, launch, on_change=changes)

    @asynccontextmanager
    async def _launched(self, plan: LaunchPlan, gpus: tuple[Gpu, ...]) -> AsyncIterator[Endpoint]:
        deployment = DeployContext(
            labels=self._labels,
            folder=self._folder,
            explain=self._explain,
            on_phase=self._progress.enter,
            lease_port=self._leases.port,
            gpus=gpus,
            note=self._progress.notice,
        )
        self._progress.enter(Phase.LAUNCHING)
        async with self._engine.deployer.deploy(plan, deployment) as endpoint:
            yield endpoint

    async def _deployed(self, plan: LaunchPlan, place: Place, telemetry: Telemetry) -> TrialOutcome:
        await self._leases.confirm()
        async with place.server() as endpoint:
            self._progress.enter(Phase.READY)
            try:
                return await self._measured(endpoint, plan, telemetry)
            finally:
                self._progress.enter(Phase.RELEASING)

    def _make_folder(self) -> None:
        """Creates the folder for request records."""
        try:
            if self._folder.is_relative_to(data_home()):
                files.make_private(data_home())
            files.make_private(self._folder)
        except OSError as error:
            message = f"cannot create {self._folder}: {error.strerror or error}"
            remedy = "set AUTOTUNER_HOME to a folder with room that you may write"
            raise TrialFailedError.because(FailureCause.DISK_FULL, message, remedy=remedy) from error

    async def _measured(self, endpoint: Endpoint, plan: LaunchPlan, telemetry: Telemetry) -> TrialOutcome:
        draft = self._draft
        draft.argv = endpoint.argv
        draft.address_flags = plan.address_flags
        draft.command = endpoint.command
        await prove_applied(endpoint, plan, self._engine.engine)
        draft.identity = await endpoint.identity()
        draft.resolved = await self._resolved(endpoint)
        self._same_world(await endpoint.facts())
        windows = Windows(
            self._spec,
            self._engine.benchmark,
            endpoint,
            identity=draft.identity,
            labels=self._labels,
            folder=self._folder,
            telemetry=telemetry,
            repeats=self._context.repeats,
            progress=self._progress,
            gpus=draft.gpus,
            engine=self._engine.engine,
            resolved=draft.resolved,
            start=self._start(draft.gpus),
            capacities=draft.capacities,
            race=self._race,
            keep=self._keep,
            priced=lambda measured: with_costs(measured, draft.usd_per_hour),
        )
        measurements = await windows.measure()
        if self._quality.due and windows.cut is None:  # what is cut cannot win
            self._progress.enter(Phase.CHECKING)
            draft.quality = await self._quality.result(endpoint)
            if draft.quality.state is QualityState.REFERENCE and (why := draft.quality.missing):
                self._progress.notice(f"quality: no checked configuration can win: {why}")
            await same_server(endpoint, draft.identity)
        self._progress.enter(Phase.SCORING)
        outcome = self._scored(measurements, windows.cut, windows.verdict)
        return replace(outcome, looks=tuple(windows.looks))

    def _same_world(self, facts: Mapping[str, str]) -> None:
        """Raises ``TrialFailedError`` for a server of another build, whose numbers could not be compared."""
        build = self._draft.resolved.get("build")
        reported = {**facts, **({"server build": str(build)} if build else {})}
        if changed := self._context.compare(reported):
            raise TrialFailedError(environment_changed(changed))

    async def _resolved(self, endpoint: Endpoint) -> Mapping[str, object]:
        engine = self._engine.engine
        if not self._engine.deployer.launches:
            return {}
        url = endpoint.info_url or endpoint.url
        info = await get_json(url + engine.info_path) if engine.info_path else None
        metrics = await get_text(url + engine.metrics_path) if engine.metrics_path else ""
        return engine.resolved(info or {}, metrics, await endpoint.log_tail(LOG_LINES))

    def _scored(self, measurements: tuple[Measurement, ...], cut: Cut | None, by_looks: Verdict | None) -> TrialOutcome:
        verdict = by_looks or verdict_on(self._spec, measurements, cut, self._draft.quality)
        failure = None
        limited = [m for m in measurements if m.self_check.client_limited]
        if limited:
            failure = Failure(
                cause=FailureCause.CLIENT_LIMITED,
                message="the load generator could not keep up: " + "; ".join(limited[0].self_check.reasons),
                remedy="lower the load, or measure from a machine with a free core",
            )
        return TrialOutcome(TrialState.DONE, measurements=measurements, cut=cut, verdict=verdict, failure=failure)

    def _explain(self, exit_code: int | None, tail: str, ready: bool) -> Failure:
        return explain(self._engine.engine, exit_code, tail, ready=ready)
