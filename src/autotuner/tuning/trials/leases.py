"""What only one trial on a host may use at a time: ports and GPUs, leased in the store that all runs share.

GPUs are handed out first come, first served: a trial that waits leaves a claim on every GPU it could use, and none that
came later takes one of these. Otherwise a trial of four GPUs would wait for ever beside trials of one.
"""

import logging
import socket
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
from anyio.to_thread import run_sync

from autotuner.store import LeaseRecord, Store
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu

POLL_S = 0.5
GPU_WAIT_S = 600.0
"""How long a trial waits for GPUs that strangers use."""

_CLAIM = "gpu-claim:"

LookAtGpus = Callable[[], Awaitable[Sequence[Gpu]]]
Reap = Callable[[Callable[[str], bool]], Awaitable[Sequence[str]]]
"""Ends what owners left running for whom the argument is true; one line for each."""


async def _nothing_to_reap(_: Callable[[str], bool]) -> Sequence[str]:
    return ()


logger = logging.getLogger(__name__)


class Leases:
    """Leases of one trial. ``dead`` names the owners whose leases may be taken over."""

    def __init__(
        self, store: Store, *, owner_id: str, study: str, trial: int, dead: Callable[[], Collection[str]]
    ) -> None:
        self._store = store
        self._owner = owner_id
        self._study = study
        self._trial = trial
        self._dead = dead
        self._host = socket.gethostname()

    @asynccontextmanager
    async def port(self, candidates: range) -> AsyncIterator[int]:
        """One port that no other trial of ours holds and that nobody listens on at the moment.

        A lease is no proof: whoever launches a server must still check that the server that answers is its own.
        """
        for port in _rotated(candidates, zlib.crc32(self._owner.encode()) + self._trial):
            resource = f"port:{self._host}:{port}"
            if not await self._acquire([resource]):
                continue
            try:
                with _claimed_on_machine(port) as ours:
                    if ours and await run_sync(_is_free, port):
                        logger.debug("trial %d holds port %d", self._trial, port)
                        yield port
                        return
                    logger.debug("port %d is in use by another process", port)
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
        self,
        count: int,
        look: LookAtGpus,
        *,
        reap: Reap = _nothing_to_reap,
        wait_s: float = GPU_WAIT_S,
        note: Callable[[str], None] = lambda _: None,
    ) -> AsyncIterator[tuple[Gpu, ...]]:
        """``count`` of the target's GPUs that nobody uses, all or none, in the order of asking.

        Waits while our own trials hold them, and up to ``wait_s`` seconds while strangers do; ``note`` is told once
        that it waits for somebody outside of this study. ``reap`` ends what a dead owner runs on GPUs that it held.
        Raises ``TrialFailedError`` (``gpu_unavailable``) when there are too few, or strangers stay.
        """
        turn = _Turn(count, since=_since_boot(), claim=f"{self._owner}:{self._study}:{self._trial}")
        held: list[Gpu] = []
        try:
            if count:
                held = await self._waited(turn, lambda: self._view(turn, look, reap, note), wait_s, note)
            yield tuple(held)
        finally:
            for resource in (*turn.claims, *map(_gpu, held)):
                await self._release(resource)

    async def _waited(
        self, turn: "_Turn", look: Callable[[], Awaitable["_View"]], wait_s: float, note: Callable[[str], None]
    ) -> list[Gpu]:
        strangers_since: float | None = None
        told = False
        while True:
            view = await look()
            if turn.count > len(view.seen):
                raise _no_gpus(f"{turn.count} GPUs are needed, and the target has {len(view.seen)}")
            with anyio.CancelScope(shield=True):
                held = await self._take(turn, view)
            if held:
                logger.info("trial %d holds GPUs %s", self._trial, [gpu.index for gpu in held])
                return held
            if view.suffices(turn.count):
                strangers_since = None  # our own trials hold them, and will end
            else:
                strangers_since = strangers_since or time.monotonic()
                if time.monotonic() - strangers_since >= wait_s:
                    raise _no_gpus(f"{turn.count} GPUs are needed, and others use them ({'; '.join(view.strangers)})")
            logger.debug(
                "trial %d waits for %d GPUs: other processes on %s; leases %s",
                self._trial,
                turn.count,
                view.strangers,
                view.studies,
            )
            others = [*view.strangers, *view.studies]
            if others and not told:
                told = True
                note(f"waiting for {turn.count} free GPU{'s' if turn.count > 1 else ''} ({'; '.join(others)})")
            await anyio.sleep(POLL_S)

    async def _view(self, turn: "_Turn", look: LookAtGpus, reap: Reap, note: Callable[[str], None]) -> "_View":
        """What is free for us, and who has the rest. A GPU that a living trial of ours holds has no strangers: what is
        seen on it from inside of a container is that trial's server."""
        seen = await look()
        dead, leases = await run_sync(lambda: (self._dead(), self._store.leases.all()))
        holders = {lease.resource: lease for lease in leases}
        held = {gpu.uuid: holders[_gpu(gpu)] for gpu in seen if _gpu(gpu) in holders}
        left = {lease.owner_id for lease in held.values() if lease.owner_id in dead}
        for line in await reap(left.__contains__) if left else ():
            note(line)
        held = {uuid: lease for uuid, lease in held.items() if lease.owner_id not in dead}
        first = {_claimed(lease.resource) for lease in leases if lease.owner_id not in dead and turn.comes_after(lease)}
        used = [gpu for gpu in seen if gpu.users and gpu.uuid not in held]
        taken = {*held, *first, *(gpu.uuid for gpu in used)}
        return _View(
            seen=tuple(seen),
            free=tuple(gpu for gpu in seen if gpu.uuid not in taken),
            strangers=tuple(f"GPU {gpu.index}: {', '.join(gpu.users)}" for gpu in used),
            studies=tuple(
                f"study {held[gpu.uuid].study} holds GPU {gpu.index}"
                for gpu in seen
                if gpu.uuid in held and held[gpu.uuid].study != self._study
            ),
        )

    async def _take(self, turn: "_Turn", view: "_View") -> list[Gpu]:
        """All or none; none leaves a claim, unless strangers are in the way: then nobody has to wait for us."""
        by_name = {_gpu(gpu): gpu for gpu in view.free}
        if len(by_name) >= turn.count and (got := await self._acquire(list(by_name), turn.count)):
            await self._withdraw(turn, turn.claims)
            return [by_name[name] for name in got]
        wanted = turn.names(view.seen) if view.suffices(turn.count) else []
        await self._withdraw(turn, [name for name in turn.claims if name not in wanted])
        missing = [name for name in wanted if name not in turn.claims]
        if missing:
            turn.claims += missing
            await self._acquire(missing, len(missing), since=turn.since)
        return []

    async def _withdraw(self, turn: "_Turn", claims: Sequence[str]) -> None:
        for name in list(claims):
            await self._release(name)
            turn.claims.remove(name)

    async def _acquire(self, resources: Sequence[str], count: int = 1, *, since: float | None = None) -> list[str]:
        """All of them in one transaction, so that a cancellation cannot leave some behind."""
        return await run_sync(
            lambda: self._store.leases.take(
                resources,
                count,
                owner_id=self._owner,
                study=self._study,
                trial=self._trial,
                now=since or _since_boot(),
                dead=self._dead(),
            )
        )

    async def _release(self, resource: str) -> None:
        with anyio.CancelScope(shield=True):
            await run_sync(self._store.leases.release, resource, self._owner)


@dataclass
class _Turn:
    """One trial's place in the order of asking."""

    count: int
    since: float
    claim: str
    claims: list[str] = field(default_factory=list)
    """What stands in the store."""

    def names(self, gpus: Sequence[Gpu]) -> list[str]:
        """Our claims on these GPUs as resources."""
        return [f"{_CLAIM}{gpu.uuid}:{self.claim}" for gpu in gpus]

    def comes_after(self, lease: LeaseRecord) -> bool:
        """Whether this is another trial's earlier claim."""
        if not lease.resource.startswith(_CLAIM):
            return False
        claim = lease.resource.removeprefix(_CLAIM).partition(":")[2]
        return (lease.acquired_at, claim) < (self.since, self.claim)


@dataclass(frozen=True)
class _View:
    """The GPUs at one moment, as one trial sees them."""

    seen: tuple[Gpu, ...]
    free: tuple[Gpu, ...]
    strangers: tuple[str, ...]
    """GPUs that are used by what no trial of ours started, as text."""
    studies: tuple[str, ...]
    """GPUs that other studies hold, as text."""

    def suffices(self, count: int) -> bool:
        """Whether there are this many without strangers, held or not."""
        return count <= len(self.seen) - len(self.strangers)


def _since_boot() -> float:
    """A clock that all who want the same GPU share, since they run on one kernel, and that is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _claimed(resource: str) -> str:
    """The GPU that a claim is for."""
    return resource.removeprefix(_CLAIM).partition(":")[0]


def _gpu(gpu: Gpu) -> str:
    """A GPU's name as a resource: the same from every run, container and index order."""
    return f"gpu:{gpu.uuid}"


def _no_gpus(message: str) -> TrialFailedError:
    remedy = "end what uses them, lower the parallelism, or name other GPUs in deploy"
    return TrialFailedError(Failure(cause=FailureCause.GPU_UNAVAILABLE, message=message, remedy=remedy))


def _rotated(candidates: range, by: int) -> list[int]:
    """Starts at another port for each run, so that they do not meet, and for each trial: a port just used may linger in
    TIME_WAIT."""
    offset = by % len(candidates) if len(candidates) else 0
    return [*candidates[offset:], *candidates[:offset]]


@contextmanager
def _claimed_on_machine(port: int) -> Iterator[bool]:
    """Whether no other tuner of this machine has claimed the port, whoever runs it and wherever its store is.

    An abstract Unix socket belongs to the same network namespace as the port, and ends with its process.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        if sys.platform.startswith("linux"):
            try:
                claim.bind(f"\0autotuner-port-{port}")
            except OSError:
                yield False
                return
        yield True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
