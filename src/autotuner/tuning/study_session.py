"""Session: one run of a study by one owner, from taking the study to releasing everything it holds."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.to_thread import run_sync

from autotuner.errors import EnvironmentFaultError, StudyBusyError
from autotuner.events.journal import Journal, append
from autotuner.events.types import Notice, Remaining, StudyFinished, StudyStarted
from autotuner.store import Store, StoreError, StudyRecord
from autotuner.study.check import CheckStatus, preflight_error
from autotuner.study.owner import Owner
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.tuning.ending import Ending, conclude
from autotuner.tuning.environment_watch import EnvironmentWatch
from autotuner.tuning.liveness.attendance import Attendance, cause
from autotuner.tuning.memory.gathering import gather
from autotuner.tuning.memory.remembering import begin, remembered
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.planning.resume_decision import Standing, adopt, standing
from autotuner.tuning.quality.harness import harness_checks
from autotuner.tuning.run_liveness import OwnerWatch, mark_ended, this_owner
from autotuner.tuning.stored_summary import NO_FINDINGS, Findings, answer_of
from autotuner.tuning.study_runner import StudyRunner
from autotuner.tuning.webhooks.notifications import notifications

logger = logging.getLogger(__name__)

_NOT_ENDED = {
    "new": "before its first run began",
    "running": "after its run had died",
    "interrupted": "after its run was interrupted",
}
"""States of a study whose end was not recorded, with when the request to stop it arrived."""


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
    try:
        await _take(store, spec.name, owner, OwnerWatch(store))
        attendance = Attendance(store, spec.name, owner, handle_signals=handle_signals)

        async def work() -> Outcome:
            try:
                return await run_held(prepared, store, attendance, source=source, named=named, on_start=on_start)
            finally:
                with anyio.CancelScope(shield=True):
                    await run_sync(leave, store, spec.name, attendance)

        outcome = await attendance.over(work)
        return outcome if outcome is not None else await run_sync(ended_outcome, store, spec, attendance.state)
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(store.owners.end, owner.id, time.time())


async def run_held(
    prepared: Prepared,
    store: Store,
    attendance: Attendance,
    *,
    source: str,
    named: bool,
    on_start: Callable[[Owner], object] = lambda _: None,
) -> Outcome:
    """Runs or resumes a study that the owner of the attendance holds, inside :meth:`Attendance.over`. Nothing is
    written once another owner holds it. Raises as :func:`run_session`; the caller hands the study back."""
    held = store.held(prepared.spec.name, attendance.owner.id)
    await _clean_up(prepared, held, prepared.spec.name, OwnerWatch(store))
    environment = await _resumed(prepared, held, source, named=named)
    checks = [*await prepared.preflight(), *await harness_checks(prepared.spec.quality)]
    failed = [c for c in checks if c.status is CheckStatus.FAIL]
    if failed:
        raise preflight_error(failed)
    return await _run(prepared, held, attendance, environment, on_start=on_start)


def ended_outcome(store: Store, spec: StudySpec, state: str) -> Outcome:
    """The outcome of a run that was stopped or interrupted."""
    trials = store.trials.all(spec.name)
    found = conclude(spec, state, trials, environment_fault=None)
    return Outcome(state, tuple(trials), f"{state} by request", found.ending)


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


def leave(store: Store, name: str, attendance: Attendance, *, requeue: bool = False) -> None:
    """Hands a study back at the end of its run. If the run was stopped before it began, the end of the run before it
    is recorded, unless that has recorded its own."""
    if attendance.state == "stopped" and not attendance.recorded:
        record_stop(store.held(name, attendance.owner.id), name)
    hand_back(store, name, attendance.owner, requeue=requeue)


def record_stop(store: Store, name: str) -> None:
    """Stores that a study was stopped that had never run, or whose last run died or was interrupted: whoever waits for
    its end must hear of it, though no run is there to record it.

    Args:
        store: The store, for the owner of the study.
        name: The study.
    """
    record = store.studies.get(name)
    if record is None or record.state not in _NOT_ENDED:
        return
    for trial in store.trials.void_owned_by(OwnerWatch(store).dead(), name, time.time()):
        append(store, Notice(study=name, text=cut_off_notice(trial.number)))
    record_end(store, record.spec, "stopped", f"stopped by request {_NOT_ENDED[record.state]}", None)


def hand_back(store: Store, name: str, owner: Owner, *, requeue: bool = False) -> None:
    """Releases everything that the owner holds, the study last. A study from the queue waits there again, or leaves
    it. Not by a store for the holder only: if the study was taken over, the rest must be released all the same."""
    store.trials.void_owned_by({owner.id}, name, time.time())
    store.leases.release_all(owner.id)
    store.studies.release(name, owner.id, requeue=requeue)


async def _run(
    prepared: Prepared,
    store: Store,
    attendance: Attendance,
    environment: EnvironmentWatch,
    *,
    on_start: Callable[[Owner], object],
) -> Outcome:
    name = prepared.spec.name
    owner = attendance.owner
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
            attendance.each_beat = runner.keep_time
            attendance.wind_down = runner.wind_down
            trials = await _ungrouped(runner.run)
            ended = "interrupted" if runner.winding_down else "done"
            why = f"{ended} by request" if runner.winding_down else runner.stopped_because
            if ended == "done":
                findings = Findings(bound=runner.bound, importance=runner.importance)
    except BaseException as error:
        ended = "failed" if isinstance(error, Exception) else attendance.state or "interrupted"
        why = f"{ended} by request" if attendance.state else str(error)
        if ended == "failed":
            why = str(error)
            fault = isinstance(error, EnvironmentFaultError)
        raise
    finally:
        attendance.each_beat = attendance.wind_down = None
        with anyio.CancelScope(shield=True):
            ending = await run_sync(lambda: record_end(store, prepared.spec, ended, why, fault, findings))
            attendance.recorded = True
    return Outcome(ended, tuple(trials), why, ending, findings)


async def _ungrouped(work: Callable[[], Awaitable[list[Trial]]]) -> list[Trial]:
    """The result of the work; an exception of its task groups is raised without them."""
    try:
        return await work()
    except ExceptionGroup as group:
        raise cause(group) from group


def record_end(
    store: Store, spec: StudySpec, state: str, why: str, fault: bool | None, findings: Findings = NO_FINDINGS
) -> Ending:
    """Stores how the session ended and what its trials show."""
    trials = store.trials.all(spec.name)
    found = conclude(spec, state, trials, environment_fault=fault)
    ended = StudyFinished(study=spec.name, state=state, why=why, ending=found.ending.value, environment_fault=fault)
    summary: dict[str, object] = {"why": why, "ending": ended.ending, "environment_fault": fault}
    summary["findings"] = findings.model_dump(mode="json")
    answer = answer_of(spec, found, trials)
    summary["answer"] = answer.model_dump(mode="json")
    store.studies.set_state(spec.name, state, summary, time.time())
    append(store, ended, notifications(spec, ended, answer))
    return found.ending


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
