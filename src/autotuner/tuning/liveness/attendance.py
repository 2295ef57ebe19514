"""Attendance of a run: its heartbeat, requests to stop it, and signals, until it has released everything.

The heartbeat goes on while servers are being ended, which can take longer than others wait for a sign of life.
"""

import logging
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from autotuner.concurrency import first_of
from autotuner.errors import AutotunerError, StudyBusyError
from autotuner.store import Store, StoreError
from autotuner.study.owner import Owner
from autotuner.tuning.run_liveness import BEATS_PER_LEASE, HEARTBEAT_S, SILENT_AFTER_S

T = TypeVar("T")

STOP_POLL_S = 0.5
"""Seconds between two looks for a request to stop, which may come from another machine."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

logger = logging.getLogger(__name__)


class Attendance:
    """What happens beside a run by the owner of a study."""

    def __init__(
        self,
        store: Store,
        study: str,
        owner: Owner,
        *,
        handle_signals: bool = False,
        lease_s: float | None = None,
        drain_s: float = 0.0,
        abandoned: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Attends to the run of a study that the owner holds.

        Args:
            store: The store of the study.
            study: Name of the study.
            owner: Its owner.
            handle_signals: End the run on SIGINT, SIGTERM and SIGHUP.
            lease_s: Seconds of silence after which the owner counts as dead elsewhere; None: the default.
            drain_s: Seconds for which trials may go on after the first signal; the second one ends them at once.
            abandoned: Ends when nobody waits for the run any more, which ends it at once.
        """
        self._store = store
        self._study = study
        self.owner = owner
        self._handle_signals = handle_signals
        self._heartbeat_s = HEARTBEAT_S if lease_s is None else lease_s / BEATS_PER_LEASE
        self._silent_s = SILENT_AFTER_S if lease_s is None else lease_s
        self._drain_s = drain_s
        self._abandoned = abandoned
        self.state = ""
        """``stopped`` or ``interrupted`` once that was requested; empty for a run that ends by itself."""
        self.recorded = False
        """Whether the end of the run is stored with the study."""
        self.each_beat: Callable[[], Awaitable[object]] | None = None
        """Called with every heartbeat."""
        self.wind_down: Callable[[], object] | None = None
        """Lets running trials end, and starts no others; None while nothing is worth waiting for."""

    async def over(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Does the work, and returns its result; None if it was ended, see :attr:`state`.

        Raises:
            StudyBusyError: If another process took the study over.
            StoreError: If the store could not be used for so long that others take the study over.
            Exception: The first one of the work, not wrapped in a group.
        """
        done: list[T | None] = []
        others = [self._stopped, *([self._interrupted] if self._handle_signals else [])]
        if self._abandoned is not None:
            others.append(partial(self._left_alone, self._abandoned))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._beat)
                done.append(await first_of(work, *others))
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise cause(group) from group
        return done[0]

    async def _beat(self) -> None:
        while True:
            if not await self._patiently(partial(run_sync, self._store.owners.heartbeat, self.owner.id)):
                raise StudyBusyError.taken_over(self._study)
            if self.each_beat is not None:
                await self._patiently(self.each_beat)
            await anyio.sleep(self._heartbeat_s)

    async def _stopped(self) -> None:
        stop_requested = partial(run_sync, self._store.studies.stop_requested, self._study)
        while not await self._patiently(stop_requested):  # noqa: ASYNC110 - the request may come from far away
            await anyio.sleep(STOP_POLL_S)
        self.state = "stopped"

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call of the store. A call that fails is repeated for as long as others wait for a sign of
        life: a measurement need not end because the store was busy for a moment."""
        failing_since: float | None = None
        while True:
            try:
                return await call()
            except StoreError as error:
                now = time.monotonic()
                if failing_since is None:
                    failing_since = now
                    logger.warning("study %s: %s; trying again for %g s", self._study, error, self._silent_s)
                if now - failing_since >= self._silent_s:
                    raise
            await anyio.sleep(self._heartbeat_s)

    async def _interrupted(self) -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            received = aiter(signals)
            await anext(received)
            if self._drain_s > 0 and self.wind_down is not None:
                logger.info("study %s: running trials may end for %g s", self._study, self._drain_s)
                self.wind_down()
                with anyio.move_on_after(self._drain_s):
                    await anext(received)
        self.state = "interrupted"

    async def _left_alone(self, abandoned: Callable[[], Awaitable[object]]) -> None:
        await abandoned()
        logger.warning("study %s: the worker that started this process has ended", self._study)
        self.state = "interrupted"


def cause(error: Exception) -> Exception:
    """The exception to report for a task group's wrapper: the first one inside, our own defects before faults that a
    user can correct."""
    while isinstance(error, ExceptionGroup):
        unexpected = error.split(AutotunerError)[1]
        error = (unexpected or error).exceptions[0]
    return error
