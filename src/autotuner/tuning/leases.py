"""What only one trial on a host may use at a time: ports and GPUs, leased in the store that all runs share."""

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.to_thread import run_sync

from autotuner.store import Store
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu

POLL_S = 0.5
GPU_WAIT_S = 600.0
"""How long a trial waits for GPUs that strangers use."""

LookAtGpus = Callable[[], Awaitable[Sequence[Gpu]]]


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
    async def gpus(
        self, count: int, look: LookAtGpus, *, wait_s: float = GPU_WAIT_S, note: Callable[[str], None] = lambda _: None
    ) -> AsyncIterator[tuple[Gpu, ...]]:
        """``count`` of the target's GPUs that nobody uses, all or none.

        Waits while our own trials hold them, and up to ``wait_s`` seconds while strangers do; ``note`` is told once.
        Raises ``TrialFailedError`` (``gpu_unavailable``) when there are too few, or strangers stay.
        """
        held: list[Gpu] = []
        try:
            if count:
                held = await self._waited(count, look, wait_s, note)
            yield tuple(held)
        finally:
            for gpu in held:
                await self._release(f"gpu:{gpu.uuid}")

    async def _waited(self, count: int, look: LookAtGpus, wait_s: float, note: Callable[[str], None]) -> list[Gpu]:
        strangers_since: float | None = None
        told = False
        while True:
            seen = await look()
            if count > len(seen):
                raise _no_gpus(f"{count} GPUs are needed, and the target has {len(seen)}")
            free = {f"gpu:{gpu.uuid}": gpu for gpu in seen if not gpu.users}
            held = await self._acquire(list(free), count)
            if held:
                return [free[name] for name in held]
            used = [f"GPU {gpu.index}: {', '.join(gpu.users)}" for gpu in seen if gpu.users]
            if count <= len(seen) - len(used):
                strangers_since = None  # our own trials hold them, and will end
            else:
                strangers_since = strangers_since or time.monotonic()
                if time.monotonic() - strangers_since > wait_s:
                    raise _no_gpus(f"{count} GPUs are needed, and others use them ({'; '.join(used)})")
            if not told:
                told = True
                note(
                    f"waiting for {count} free GPU{'s' if count > 1 else ''}"
                    + (f" ({'; '.join(used)})" if used else "")
                )
            await anyio.sleep(POLL_S)

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


def _no_gpus(message: str) -> TrialFailedError:
    remedy = "end what uses them, lower the parallelism, or name other GPUs in deploy"
    return TrialFailedError(Failure(cause=FailureCause.GPU_UNAVAILABLE, message=message, remedy=remedy))


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
