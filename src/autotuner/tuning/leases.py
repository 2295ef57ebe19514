"""What only one trial on a host may use at a time: ports and GPUs, leased in the store that all runs share."""

import socket
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import anyio
from anyio.to_thread import run_sync

from autotuner.store import Store
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

POLL_S = 0.5


class Leases:
    """Leases of one trial. ``dead`` names the owners whose leases may be taken over."""

    def __init__(
        self, store: Store, *, owner_id: str, study: str, trial: int, dead: Callable[[], Collection[str]]
    ) -> None:
        self._store, self._owner, self._study, self._trial, self._dead = store, owner_id, study, trial, dead
        self._host = socket.gethostname()

    @asynccontextmanager
    async def port(self, candidates: range) -> AsyncIterator[int]:
        """One port that no other trial of ours holds and that nobody listens on at the moment.

        A lease is no proof: whoever launches a server must still check that the server that answers is its own.
        """
        for port in _rotated(candidates, self._trial):
            resource = f"port:{self._host}:{port}"
            if not await self._acquire([resource]):
                continue
            try:
                if await run_sync(_is_free, port):
                    yield port
                    return
            finally:
                await self._release(resource)
        raise TrialFailedError(
            Failure(
                cause=FailureCause.PORT_UNAVAILABLE,
                message=f"all ports from {candidates.start} to {candidates.stop - 1} are in use",
                remedy="widen deploy.ports, or end what listens there",
            )
        )

    @asynccontextmanager
    async def gpus(self, count: int, total: int) -> AsyncIterator[tuple[int, ...]]:
        """``count`` of the host's ``total`` GPUs, all or none; waits until they are free. Raises ``TrialFailedError``
        where the host has fewer."""
        if count > total:
            message = f"{count} GPUs are needed, this machine has {total}"
            remedy = "lower what sets the number of GPUs (tensor, pipeline or data parallelism)"
            raise TrialFailedError(Failure(cause=FailureCause.INVALID_VALUE, message=message, remedy=remedy))
        names = {f"gpu:{self._host}:{index}": index for index in range(total)}
        held: list[str] = []
        try:
            while len(held) < count:
                held = await self._acquire(list(names), count)
                if len(held) < count:
                    await anyio.sleep(POLL_S)
            yield tuple(names[name] for name in held)
        finally:
            for name in held:
                await self._release(name)

    async def _acquire(self, resources: list[str], count: int = 1) -> list[str]:
        """All of them in one transaction, so that a cancellation cannot leave some behind."""
        return await run_sync(
            lambda: self._store.acquire_some(
                resources,
                count,
                owner_id=self._owner,
                study=self._study,
                trial=self._trial,
                now=time.time(),
                dead=self._dead(),
            )
        )

    async def _release(self, resource: str) -> None:
        with anyio.CancelScope(shield=True):
            await run_sync(self._store.release, resource, self._owner)


def _rotated(candidates: range, by: int) -> list[int]:
    """Starts at another port for each trial: a port just used may linger in TIME_WAIT."""
    offset = by % len(candidates) if len(candidates) else 0
    return [*candidates[offset:], *candidates[:offset]]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
