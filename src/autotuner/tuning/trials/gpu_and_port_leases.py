"""Leases of ports and GPUs, which only one trial on a host may use at a time, in the store that all runs share.

GPUs are handed out first come, first served: a waiting trial claims every GPU that it could use, and later ones do not
take these. Otherwise a trial that needs four GPUs would never start beside trials that need one.
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
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Gpu

POLL_S = 0.5
GPU_WAIT_S = 600.0
"""Seconds for which a trial waits for GPUs that other programs use."""

_CLAIM = "gpu-claim:"

LookAtGpus = Callable[[], Awaitable[Sequence[Gpu]]]
Reap = Callable[[Callable[[str], bool]], Awaitable[Sequence[str]]]
"""Ends servers of owners for whom the argument is true; returns one line for each."""


async def _nothing_to_reap(_: Callable[[str], bool]) -> Sequence[str]:
    return ()


logger = logging.getLogger(__name__)


class Leases:
    """Leases of one trial. ``dead`` returns the owners whose leases may be taken over."""

    def __init__(
        self, store: Store, *, owner_id: str, study: str, trial: int, dead: Callable[[], Collection[str]]
    ) -> None:
        self._store = store
        self._owner = owner_id
        self._study = study
        self._trial = trial
        self._dead = dead
        self._host = socket.gethostname()

    async def confirm(self) -> None:
        """Raises ``StudyBusyError`` if the study was taken over, perhaps while this process was paused: then nothing
        must be launched any more."""
        await run_sync(self._store.confirm_held)

    @asynccontextmanager
    async def port(self, candidates: range) -> AsyncIterator[int]:
        """One port that no other trial has leased and that nothing listens on at the moment.

        A lease proves nothing about other programs: the caller still has to check that its own server answers.
        """
        for port in _rotated(candidates, zlib.crc32(self._owner.encode()) + self._trial):
            resource = f"port:{self._host}:{port}"
            if not await self._acquire([resource]):
                continue
            try:
                with _claimed_on_machine(port) as claimed:
                    if claimed and await run_sync(_is_free, port):
                        logger.debug("trial %d holds port %d", self._trial, port)
                        yield port
                        return
                    logger.debug("port %d is in use by another process", port)
            finally:
                await self._release(resource)
        raise TrialFailedError.because(
            FailureCause.PORT_UNAVAILABLE,
            f"all ports from {candidates.start} to {candidates.stop - 1} are in use",
            remedy="widen deploy.ports, or end the processes that use them",
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
        """Leases ``count`` unused GPUs of the target, all or none, in the order of requests.

        Waits as long as other trials hold them, and up to ``wait_s`` seconds while other programs use them.

        Args:
            count: GPUs that the trial needs; 0 leases nothing.
            look: Lists the target's GPUs and who uses them.
            reap: Ends what dead owners left running on GPUs that they had leased.
            wait_s: Longest wait for other programs, in seconds.
            note: Called once when the trial waits for something outside of this study.

        Raises:
            TrialFailedError: ``gpu_unavailable`` if there are too few GPUs or other programs keep using them.
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
        foreign_since: float | None = None
        notified = False
        while True:
            view = await look()
            if turn.count > len(view.seen):
                raise TrialFailedError.gpu_unavailable(
                    f"{turn.count} GPUs are needed, and the target has {len(view.seen)}"
                )
            with anyio.CancelScope(shield=True):
                held = await self._take(turn, view)
            if held:
                logger.info("trial %d holds GPUs %s", self._trial, [gpu.index for gpu in held])
                return held
            if view.suffices(turn.count):
                foreign_since = None  # only trials hold them, which will end
            else:
                foreign_since = foreign_since or time.monotonic()
                if time.monotonic() - foreign_since >= wait_s:
                    raise TrialFailedError.gpu_unavailable(
                        f"{turn.count} GPUs are needed, and others use them ({'; '.join(view.foreign)})"
                    )
            logger.debug(
                "trial %d waits for %d GPUs: other processes on %s; leases %s",
                self._trial,
                turn.count,
                view.foreign,
                view.studies,
            )
            others = [*view.foreign, *view.studies]
            if others and not notified:
                notified = True
                note(f"waiting for {turn.count} free GPU{'s' if turn.count > 1 else ''} ({'; '.join(others)})")
            await anyio.sleep(POLL_S)

    async def _view(self, turn: "_Turn", look: LookAtGpus, reap: Reap, note: Callable[[str], None]) -> "_View":
        """Which GPUs are free for this trial, and who uses the rest. What runs on a GPU that a living trial has leased
        is that trial's server, even if it looks like another program from inside a container."""
        # Leases are read before and after the look: a trial may end in between, and its server was seen still running.
        before = {lease.resource: lease.owner_id for lease in await run_sync(self._store.leases.all)}
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
        foreign = [gpu for gpu in used if before.get(_gpu(gpu)) in {None, *dead}]
        return _View(
            seen=tuple(seen),
            free=tuple(gpu for gpu in seen if gpu.uuid not in taken),
            foreign=tuple(f"GPU {gpu.index}: {', '.join(gpu.users)}" for gpu in foreign),
            studies=tuple(
                f"study {held[gpu.uuid].study} holds GPU {gpu.index}"
                for gpu in seen
                if gpu.uuid in held and held[gpu.uuid].study != self._study
            ),
        )

    async def _take(self, turn: "_Turn", view: "_View") -> list[Gpu]:
        """Takes all GPUs or none. If none, the trial claims them, unless other programs use them: then no other trial
        should have to wait for this one."""
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
    """One trial's place in the order of requests."""

    count: int
    since: float
    claim: str
    claims: list[str] = field(default_factory=list)
    """Claims that are stored."""

    def names(self, gpus: Sequence[Gpu]) -> list[str]:
        """This trial's claims on these GPUs, as names of resources."""
        return [f"{_CLAIM}{gpu.uuid}:{self.claim}" for gpu in gpus]

    def comes_after(self, lease: LeaseRecord) -> bool:
        """Whether this is an earlier claim of another trial."""
        if not lease.resource.startswith(_CLAIM):
            return False
        claim = lease.resource.removeprefix(_CLAIM).partition(":")[2]
        return (lease.acquired_at, claim) < (self.since, self.claim)


@dataclass(frozen=True)
class _View:
    """The target's GPUs at one moment, from the view of one trial."""

    seen: tuple[Gpu, ...]
    free: tuple[Gpu, ...]
    foreign: tuple[str, ...]
    """GPUs that other programs use, as text."""
    studies: tuple[str, ...]
    """GPUs that other studies have leased, as text."""

    def suffices(self, count: int) -> bool:
        """Whether at least this many are not used by other programs, leased or not."""
        return count <= len(self.seen) - len(self.foreign)


def _since_boot() -> float:
    """A clock that is never set and that all processes of one kernel share, hence all that compete for its GPUs."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _claimed(resource: str) -> str:
    """UUID of the GPU that a claim is for."""
    return resource.removeprefix(_CLAIM).partition(":")[0]


def _gpu(gpu: Gpu) -> str:
    """A GPU's name as a resource: the same in every run, container and enumeration order."""
    return f"gpu:{gpu.uuid}"


def _rotated(candidates: range, by: int) -> list[int]:
    """The ports, starting at another one for each run to avoid collisions, and for each trial: a port that was just
    used may linger in TIME_WAIT."""
    offset = by % len(candidates) if len(candidates) else 0
    return [*candidates[offset:], *candidates[:offset]]


@contextmanager
def _claimed_on_machine(port: int) -> Iterator[bool]:
    """Whether no other autotuner process on this machine has claimed the port, whatever user and store it has.

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
