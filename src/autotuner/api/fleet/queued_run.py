"""Child process of a worker that runs one study from the queue.

It holds the study by the owner that the worker registered for it. It ends with the study, at a signal, when a stop is
requested in the store, when another owner holds the study, and when its standard input is closed because the worker
has ended. Afterwards the study has left the queue, or waits in it again.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from autotuner.api.study_input import on_this_site
from autotuner.errors import AutotunerError, EnvironmentFaultError, StudyBusyError, UsageError
from autotuner.events.journal import append
from autotuner.events.types import Notice
from autotuner.logs import logging_to
from autotuner.secrets import remember_environment
from autotuner.store import Store, StoreError
from autotuner.store.records import Job
from autotuner.study_file.loader import LoadedStudy
from autotuner.tuning.liveness.attendance import Attendance
from autotuner.tuning.planning.engines.prepared_engines import prepare
from autotuner.tuning.planning.resume_decision import with_strategy
from autotuner.tuning.run_liveness import this_owner
from autotuner.tuning.study_session import leave, record_end, run_held
from autotuner.tuning.webhooks.notifications import not_run

MOST_ATTEMPTS = 5
"""Runs of a study that may die one after the other without finishing a trial."""
PATIENCE_S = 60.0
"""How long a run waits for a database server that does not answer."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What the worker wants to be run. The store is that of ``AUTOTUNER_STORE``: its URL may contain a
    password, which must not appear on a command line."""

    study: str
    owner_id: str
    lease_s: float
    drain_s: float
    verbose: int = 0
    log_file: str = ""

    @property
    def argv(self) -> list[str]:
        """The command that runs it."""
        fields = (self.study, self.owner_id, self.lease_s, self.drain_s, self.verbose, self.log_file)
        return [sys.executable, "-m", __name__, *map(str, fields)]

    @classmethod
    def of(cls, argv: list[str]) -> Order:
        """The order that :attr:`argv` came from."""
        study, owner_id, lease_s, drain_s, verbose, log_file = argv
        return cls(study, owner_id, float(lease_s), float(drain_s), int(verbose), log_file)


async def run(order: Order) -> None:
    """Runs the study."""
    with await run_sync(Store.open) as store:
        store.wait_for_database(PATIENCE_S)
        owner = this_owner().replaced(id=order.owner_id)
        if not await run_sync(store.owners.adopt, owner):
            raise StudyBusyError.taken_over(order.study)
        attendance = Attendance(
            store,
            order.study,
            owner,
            handle_signals=True,
            lease_s=order.lease_s,
            drain_s=order.drain_s,
            abandoned=_input_closed,
        )
        try:
            await attendance.over(lambda: _run(store, order.study, attendance))
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(store.owners.end, owner.id, time.time())


async def _input_closed() -> None:
    """Returns once the worker's end of this process's standard input is closed."""
    while True:
        await anyio.wait_readable(0)
        if not os.read(0, 1 << 12):
            return


async def _run(store: Store, study: str, attendance: Attendance) -> None:
    requeue = True
    try:
        job = await run_sync(store.queue.job, study)
        if job.attempts > MOST_ATTEMPTS:
            why = f"its last {MOST_ATTEMPTS} runs died without finishing a trial"
            raise AutotunerError(why, remedy="see the logs of the workers, and start it again")
        outcome = await _run_job(store, job, attendance)
        requeue = outcome == "interrupted"
    except (StoreError, StudyBusyError):
        raise  # nothing can be written, or nothing must be
    except Exception as error:
        requeue = False
        logger.error("study %s failed: %s", study, error)
        if not attendance.recorded:
            await run_sync(_record_failure, store.held(study, attendance.owner.id), study, error)
        if not isinstance(error, AutotunerError):
            raise
    finally:
        with anyio.CancelScope(shield=True):
            requeue = requeue and attendance.state != "stopped"
            await run_sync(lambda: leave(store, study, attendance, requeue=requeue))


async def _run_job(store: Store, job: Job, attendance: Attendance) -> str:
    try:
        loaded = await run_sync(on_this_site, LoadedStudy(job.spec))
        record = await run_sync(store.studies.get, job.spec.name)
        prepared = await prepare(with_strategy(loaded.spec, record))
        outcome = await run_held(prepared, store, attendance, source=job.source, named=job.named)
    except (StoreError, StudyBusyError):
        raise
    except AutotunerError as error:
        held = store.held(job.spec.name, attendance.owner.id)
        if attendance.recorded or not await run_sync(_left_to_others, held, job.spec.name, error):
            raise
        return "interrupted"
    logger.info("study %s: %s (%s)", job.spec.name, outcome.state, outcome.why)
    return outcome.state


def _left_to_others(store: Store, study: str, error: AutotunerError) -> bool:
    """Leaves a study that this machine cannot resume to other workers, if all its results come from other machines:
    its own may come back. Returns whether it did. A study with results from here is one that has changed here."""
    host = socket.gethostname()
    hosts = store.trials.hosts(study)
    if not hosts or host in hosts:
        return False
    why = _cause(error)
    logger.warning("study %s cannot be resumed on this machine, and waits for another worker: %s", study, why)
    append(store, Notice(study=study, text=f"waits for another worker: cannot be resumed on {host}: {why}"))
    store.queue.refuse(study, why)
    return True


def _cause(error: AutotunerError) -> str:
    """What prevents a study from running here, without the study's name and the remedy, which is for this machine."""
    if not isinstance(error, UsageError):
        return "; ".join(error.message.splitlines())
    return "; ".join(problem.why if problem.where == "name" else problem.message for problem in error.problems)


def _record_failure(store: Store, study: str, error: Exception) -> None:
    """Stores why the study was not run, and tells webhooks. A study with results keeps its answer; the reason is among
    its events."""
    record = store.studies.get(study)
    if record is None:
        return
    fault = isinstance(error, EnvironmentFaultError)
    if any(trial.state.finished for trial in store.trials.all(study)):
        append(store, *not_run(study, str(error), environment_fault=fault))
    else:
        record_end(store, record.spec, "failed", str(error), fault)


def main() -> None:
    """Entry point."""
    order = Order.of(sys.argv[1:])
    remember_environment()
    with logging_to(order.verbose, Path(order.log_file) if order.log_file else None, warnings=True):
        try:
            anyio.run(run, order)
        except AutotunerError as error:
            logger.error("study %s: %s", order.study, error)


if __name__ == "__main__":
    main()
