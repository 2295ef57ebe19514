"""Session: one run of a study by one owner, from taking the study to releasing everything it holds."""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.to_thread import run_sync

from autotuner.concurrency import first_of
from autotuner.errors import AutotunerError, EnvironmentFaultError, StudyBusyError
from autotuner.events.journal import Journal, append
from autotuner.events.types import Notice, Remaining, StudyFinished, StudyStarted
from autotuner.store import Store, StoreError, StudyRecord
from autotuner.study.check import CheckStatus, PreflightError
from autotuner.study.owner import Owner
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.tuning.ending import Ending, conclude
from autotuner.tuning.environment_watch import EnvironmentWatch
from autotuner.tuning.memory.gathering import gather
from autotuner.tuning.memory.remembering import begin, remembered
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.planning.resume_decision import Standing, adopt, standing
from autotuner.tuning.quality.harness import harness_checks
from autotuner.tuning.run_liveness import HEARTBEAT_S, OwnerWatch, mark_ended, this_owner
from autotuner.tuning.stored_summary import NO_FINDINGS, Findings, answer_of
from autotuner.tuning.study_runner import StudyRunner

STOP_POLL_S = 0.5


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    state: str
    """``done``, ``stopped`` or ``interrupted``; a failed session raises."""
    trials: tuple[Trial, ...]
    why: str
    ending: Ending
    """What the trials show, see :class:`Ending`."""
    findings: Findings = NO_FINDINGS
    """What the search and its model can say at the end."""


async def run_session(
    prepared: Prepared,
    store: Store,
    *,
    source: str,
    named: bool = True,
    handle_signals: bool = False,
    on_start: Callable[[Owner], object] = lambda _: None,
) -> Outcome:
    """Runs or resumes the study. Raises ``UsageError``, :class:`PreflightError`, :class:`StudyBusyError`,
    ``EnvironmentFaultError``; on every path the owner's trials, leases and servers are released."""
    spec = prepared.spec
    owner = this_owner()
    await run_sync(_register, prepared, store, source)
    await run_sync(store.owners.register, owner)
    owners = OwnerWatch(store)
    try:
        await _take(store, spec.name, owner, owners)
        try:
            await _clean_up(prepared, store, spec.name, owners)
            environment = await _resumed(prepared, store, source, named=named)
            checks = [*await prepared.preflight(), *await harness_checks(spec.quality)]
            failed = [c for c in checks if c.status is CheckStatus.FAIL]
            if failed:
                raise PreflightError(failed)
            return await _run(prepared, store, owner, environment, handle_signals=handle_signals, on_start=on_start)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(_hand_back, store, spec.name, owner)
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(store.owners.end, owner.id, time.time())


def _register(prepared: Prepared, store: Store, source: str) -> None:
    if store.studies.get(prepared.spec.name) is None:
        if isinstance(prepared.spec.search.warm_start, tuple):
            gather(prepared, store, {})  # if it refuses a name, nothing is stored
        _created(store, prepared.spec, source)


async def standing_of(prepared: Prepared, store: Store, *, source: str, named: bool) -> Standing:
    """How the study relates to the stored one; see :func:`autotuner.tuning.planning.resume_decision.standing`."""
    now = await EnvironmentWatch(prepared).read()

    def work() -> Standing:
        found = standing(prepared, store, now, source=source, named=named)
        return found.replaced(beginning=remembered(prepared, store, now, results=found.stored))

    return await run_sync(work)


async def _resumed(prepared: Prepared, store: Store, source: str, *, named: bool) -> EnvironmentWatch:
    """Updates the stored study to its file; returns the environment that its trials have in common.

    Raises ``UsageError`` if the stored results were measured differently.
    """
    environment = EnvironmentWatch(prepared)
    now = await environment.read()
    found = await run_sync(lambda: standing(prepared, store, now, source=source, named=named))
    record = await run_sync(store.studies.get, prepared.spec.name)
    # Without results, the present environment counts; with results, theirs, and what has become known since then.
    stored = record.world if record is not None and found.stored else {}
    environment.known = {**stored, **now}
    await run_sync(lambda: begin(prepared, store, environment.known, results=found.stored))
    await run_sync(lambda: adopt(prepared, store, source=source))
    return environment


def _created(store: Store, spec: StudySpec, source: str) -> StudyRecord:
    """The new study, or the one that another process stored just before."""
    try:
        return store.studies.create(spec, source=source, digest=spec.digest, now=time.time())
    except StoreError:
        found = store.studies.get(spec.name)
        if found is None:
            raise
        return found


async def _take(store: Store, name: str, owner: Owner, owners: OwnerWatch) -> None:
    record = await run_sync(store.studies.get, name)
    dead = await owners.settled({record.owner_id} if record and record.owner_id else ())
    holder = await run_sync(lambda: store.studies.take(name, owner.id, time.time(), dead=dead))
    if holder is not None:
        found = next((r.owner for r in await run_sync(store.owners.all) if r.owner.id == holder), None)
        who = f"process {found.pid} on {found.host}" if found else f"owner {holder}"
        raise StudyBusyError.running(name, f"follow it: autotuner watch {name}", by=who)
    await run_sync(store.studies.clear_stop, name)
    logger.info("study %s is held by owner %s, process %d on %s", name, owner.id, owner.pid, owner.host)


async def _clean_up(prepared: Prepared, store: Store, name: str, owners: OwnerWatch) -> None:
    """Removes what dead owners left running, then their leases, and voids their unfinished trials.

    Servers go first: as long as one runs, the GPUs and ports of its lease are not free.
    """
    dead = await owners.settled({lease.owner_id for lease in await run_sync(store.leases.all)})
    logger.debug("owners that have ended: %s", sorted(dead))
    removed: list[str] = []
    for engine in prepared.by_engine.values():
        removed += await engine.deployer.reap(dead.__contains__)
    for owner_id in dead & {lease.owner_id for lease in await run_sync(store.leases.all)}:
        await run_sync(store.leases.release_all, owner_id)
    voided = await run_sync(lambda: store.trials.void_owned_by(dead, name, time.time()))
    await run_sync(mark_ended, store, dead)
    cut_off = [cut_off_notice(t.number) for t in voided]
    for text in (*removed, *cut_off):
        await run_sync(append, store, Notice(study=name, text=text))


def cut_off_notice(trial: int) -> str:
    """The notice about a trial whose run died."""
    return f"trial {trial} was cut off when its run ended; it does not count"


def _hand_back(store: Store, name: str, owner: Owner) -> None:
    store.trials.void_owned_by({owner.id}, name, time.time())
    store.leases.release_all(owner.id)
    store.studies.release(name, owner.id)


async def _run(
    prepared: Prepared,
    store: Store,
    owner: Owner,
    environment: EnvironmentWatch,
    *,
    handle_signals: bool,
    on_start: Callable[[Owner], object],
) -> Outcome:
    name = prepared.spec.name
    await run_sync(lambda: store.studies.set_state(name, "running", None, time.time()))
    ended = "failed"
    trials: list[Trial] = []
    why = ""
    fault: bool | None = None
    findings = NO_FINDINGS
    try:
        async with Journal(store) as journal:
            await run_sync(store.studies.set_world, name, environment.known)
            journal.note(_announcement(prepared, environment))
            on_start(owner)
            runner = StudyRunner(prepared, store, owner, journal, environment)
            ended = await _watched(runner, trials, store, name, owner, handle_signals=handle_signals)
            why = runner.stopped_because if ended == "done" else f"{ended} by request"
            if ended == "done":
                findings = Findings(bound=runner.bound, importance=runner.importance)
    except BaseException as error:
        ended = "failed" if isinstance(error, Exception) else "interrupted"
        why = str(error)
        if ended == "failed":
            fault = isinstance(error, EnvironmentFaultError)
        raise
    finally:
        with anyio.CancelScope(shield=True):
            ending = await run_sync(lambda: _finish(store, prepared.spec, ended, why, fault, findings))
    return Outcome(ended, tuple(trials), why, ending, findings)


def _finish(store: Store, spec: StudySpec, state: str, why: str, fault: bool | None, findings: Findings) -> Ending:
    """Stores how the session ended and what its trials show."""
    trials = store.trials.all(spec.name)
    found = conclude(spec, state, trials, environment_fault=fault)
    ended = StudyFinished(study=spec.name, state=state, why=why, ending=found.ending.value, environment_fault=fault)
    summary: dict[str, object] = {"why": why, "ending": ended.ending, "environment_fault": fault}
    summary["findings"] = findings.model_dump(mode="json")
    answer = answer_of(spec, found, trials).model_dump(mode="json")
    store.studies.set_state(spec.name, state, {**summary, "answer": answer}, time.time())
    append(store, ended)
    return found.ending


async def _watched(
    runner: StudyRunner, trials: list[Trial], store: Store, name: str, owner: Owner, *, handle_signals: bool
) -> str:
    """Runs the study beside its heartbeat, its stop request and (on the command line) the signals. Returns the state in
    which it ended."""

    async def run() -> str:
        trials.extend(await runner.run())
        return "done"

    async def beat() -> str:
        last = -HEARTBEAT_S
        while not await run_sync(store.studies.stop_requested, name):
            if time.monotonic() - last >= HEARTBEAT_S:
                last = time.monotonic()
                if not await run_sync(store.owners.heartbeat, owner.id):
                    raise StudyBusyError.taken_over(name)
                await runner.keep_time()
            await anyio.sleep(STOP_POLL_S)
        return "stopped"

    async def listen() -> str:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            await anext(aiter(signals))
        return "interrupted"

    try:
        ended = await first_of(run, beat, *([listen] if handle_signals else []))
    except ExceptionGroup as group:
        raise _cause(group) from group
    if ended != "done":
        trials[:] = await run_sync(store.trials.all, name)
    return ended


def _cause(error: Exception) -> Exception:
    """The exception to report for a task group's wrapper: the first one inside, our own defects before faults that a
    user can correct."""
    while isinstance(error, ExceptionGroup):
        unexpected = error.split(AutotunerError)[1]
        error = (unexpected or error).exceptions[0]
    return error


def _announcement(prepared: Prepared, environment: EnvironmentWatch) -> StudyStarted:
    spec = prepared.spec
    return StudyStarted(
        study=spec.name,
        left=Remaining(search=prepared.size.trials, repeats=prepared.size.repeats),
        parallel=spec.search.parallel,
        trials=spec.search.trials,
        space=prepared.space.size,
        parameters=tuple(p.name for p in spec.parameters),
        objectives=tuple(o.text for o in spec.objectives),
        slos=tuple(s.text for s in spec.slos),
        repeats=spec.confirm.blocks,
        world=environment.publish(),
    )
