"""Worker: takes studies from the queue and runs each in a child process, so that its crash ends nothing else."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import anyio
from anyio.abc import Process
from anyio.to_thread import run_sync

import autotuner
from autotuner.api.fleet.queued_run import PATIENCE_S, Order
from autotuner.api.fleet.settings import WorkerSettings
from autotuner.concurrency import run_program
from autotuner.logs import FailureLog
from autotuner.store import Store
from autotuner.store.records import WorkerRecord
from autotuner.study.owner import Owner
from autotuner.tuning.run_liveness import BEATS_PER_LEASE, OwnerWatch, this_owner
from autotuner.tuning.study_session import hand_back

_POLL_S = 1.0
_AGAIN_S = 5.0
_LOOK_S = 0.1
"""Seconds between two looks at whether the worker is to end."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Worker:
    """Takes studies from the queue of a store until :meth:`end`."""

    def __init__(self, url: str | None, settings: WorkerSettings) -> None:
        self._url = url
        self._settings = settings
        self._id = ""
        self._running: dict[str, Owner] = {}
        """The owners of the studies that it runs, by id."""
        self._processes: dict[str, Process] = {}
        """Their processes, by id of the owner."""
        self._requests = 0
        """Number of requests to end."""
        self._failures: dict[str, FailureLog] = {}
        """By what failed the last time."""
        self._environment = {**os.environ, **({} if url is None else {"AUTOTUNER_STORE": url})}

    def end(self) -> None:
        """Requests the worker to end, from any thread: running trials may go on for the settings' time. A second
        request ends them at once. Either way their studies wait in the queue again."""
        self._requests += 1

    def is_ending(self) -> bool:
        """Whether its end was requested."""
        return self._requests > 0

    async def run(self, *, handle_signals: bool = False, on_ready: Callable[[], object] = lambda: None) -> None:
        """Works until :meth:`end`, or the first SIGINT, SIGTERM or SIGHUP. Raises ``StoreError`` if the store cannot be
        opened; later it waits until it can be used again."""
        self._id = uuid.uuid4().hex[:12]  # of this run: after a failed one, the store has the former worker
        with await run_sync(Store.open, self._url) as store:
            store.wait_for_database(PATIENCE_S)
            await run_sync(store.workers.register, self._record())
            on_ready()
            async with anyio.create_task_group() as aside:
                aside.start_soon(self._beat, store)
                aside.start_soon(self._reap)
                if handle_signals:
                    aside.start_soon(self._listen)
                async with anyio.create_task_group() as children:
                    children.start_soon(self._pass_requests_on)
                    await self._take_studies(store, children.start_soon)
                aside.cancel_scope.cancel()
            await self._tried("the last heartbeat", lambda: store.workers.heartbeat(self._id, "ended"))

    def _record(self) -> WorkerRecord:
        owner = this_owner()
        return WorkerRecord(
            id=self._id,
            host=owner.host,
            pid=owner.pid,
            process=owner.process,
            labels=self._settings.labels,
            at_most=self._settings.at_most,
            version=autotuner.__version__,
            lease_s=self._settings.lease_s,
        )

    async def _listen(self) -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async for number in signals:
                logger.warning("%s: the worker ends", number.name)
                self.end()

    async def _beat(self, store: Store) -> None:
        while True:
            state = "draining" if self._requests else "running"
            await self._tried("the worker's heartbeat", partial(store.workers.heartbeat, self._id, state))
            for owner in list(self._running.values()):
                # A child beats by itself once it has taken over the owner that was registered for it.
                beat = partial(store.owners.heartbeat, owner.id, pid=os.getpid())
                await self._tried(f"the heartbeat of run {owner.id}", beat)
            await anyio.sleep(self._settings.lease_s / BEATS_PER_LEASE)

    async def _tried(self, work: str, call: Callable[[], T]) -> T | None:
        """The result of a call of the store; None if it failed. Even a defect must not end the worker, and with it the
        runs of all its studies: the next heartbeat will show that it is alive."""
        try:
            found = await run_sync(call)
        except Exception as error:
            self._failures.setdefault(work, FailureLog(logger, f"{work} failed")).failed(error)
            return None
        self._failures.pop(work, None)
        return found

    async def _take_studies(self, store: Store, start: Callable[..., object]) -> None:
        owners = OwnerWatch(store)
        poll_s = min(_POLL_S, self._settings.lease_s / BEATS_PER_LEASE)
        while not self._requests:
            owner = this_owner()
            study = await self._taken(store, owners, owner)
            if study is not None:
                self._running[owner.id] = owner
                start(self._run_study, store, study, owner)
                continue
            with anyio.move_on_after(poll_s):
                while not self._requests:  # noqa: ASYNC110 - another thread may set it
                    await anyio.sleep(_LOOK_S)

    async def _taken(self, store: Store, owners: OwnerWatch, owner: Owner) -> str | None:
        settings = self._settings

        def take() -> str | None:
            # Asked even while nothing is taken, because it has to see heartbeats change.
            dead = owners.dead()
            if len(self._running) >= settings.at_most:
                return None
            return store.queue.take(
                worker=self._id, owner=owner, lease_s=settings.lease_s, labels=settings.labels, dead=dead
            )

        return await self._tried("taking a study from the queue", take)

    async def _run_study(self, store: Store, study: str, owner: Owner) -> None:
        settings = self._settings
        order = Order(study, owner.id, settings.lease_s, settings.drain_s, settings.verbose, settings.log_file)
        logger.info("taking study %s from the queue", study)
        try:
            code: int | None = None
            # A session of its own, so that Ctrl-C reaches this process only, which passes it on.
            async with await anyio.open_process(
                order.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=None,
                env=self._environment,
                start_new_session=True,
            ) as process:
                self._processes[owner.id] = process
                for _ in range(self._requests):
                    _terminate(process)
                code = await process.wait()
        except OSError as error:
            logger.error("cannot start a process for study %s: %s", study, error)
        except Exception:  # must end neither the worker nor the runs of its other studies
            logger.exception("the process of study %s cannot be watched", study)
        finally:
            self._processes.pop(owner.id, None)
            await self._after(store, study, owner, code)
            del self._running[owner.id]

    async def _after(self, store: Store, study: str, owner: Owner, code: int | None) -> None:
        """Does what a child process that was killed could not do itself."""
        if code != 0:
            logger.error("the process of study %s ended with code %s", study, code)
            if self._requests:
                await self._tried(f"handing study {study} back", lambda: hand_back(store, study, owner, requeue=True))
            else:
                await self._reap("--study", study)  # before the study can be taken again
        await self._tried(f"ending run {owner.id}", lambda: store.owners.end(owner.id, store.clock()))

    async def _reap(self, *options: str) -> None:
        """Ends what dead runs left on this machine: of workers that were killed, when this one starts."""
        argv = [sys.executable, "-m", "autotuner", "reap", *options]
        try:
            code, output = await run_program(argv, env=self._environment)
        except OSError as error:
            logger.warning("cannot clean up after killed runs: %s", error)
            return
        for line in output.splitlines():
            logger.info("%s", line)
        if code:
            logger.info("cannot clean up after all killed runs")

    async def _pass_requests_on(self) -> None:
        """Passes every request to end on to the child processes, until none is left."""
        passed = 0
        while not self._requests or self._running:
            await anyio.sleep(_LOOK_S)
            while passed < self._requests:
                passed += 1
                for process in self._processes.values():
                    _terminate(process)


def _terminate(process: Process) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        process.terminate()


@contextmanager
def working_beside(url: str | None, settings: WorkerSettings) -> Iterator[None]:
    """A worker in a thread of this process, for the time of the block. While it ends, SIGINT and SIGTERM end running
    trials at once."""
    worker = Worker(url, settings)
    thread = threading.Thread(target=_work_on, args=(worker,), name="worker")
    thread.start()
    try:
        yield
    finally:
        before = {number: signal.signal(number, lambda *_: worker.end()) for number in (signal.SIGINT, signal.SIGTERM)}
        worker.end()
        while thread.is_alive():  # a signal is handled only between two waits
            thread.join(_LOOK_S)
        for number, handler in before.items():
            signal.signal(number, handler)


def _work_on(worker: Worker) -> None:
    """Runs the worker, and again if the store cannot be opened yet, or after a defect: the server would otherwise go on
    without a worker."""
    failures = FailureLog(logger, "the worker ended")
    while not worker.is_ending():
        try:
            anyio.run(worker.run)
        except Exception as error:
            failures.failed(error)
            until = time.monotonic() + _AGAIN_S
            while not worker.is_ending() and time.monotonic() < until:
                time.sleep(_LOOK_S)
