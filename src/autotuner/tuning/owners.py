"""Which runs are alive. What a dead run left behind may be removed; what belongs to a living one never.

On one machine the kernel answers: a run is its process, named by :class:`ProcessIdentity`. Where the kernel cannot
answer (another machine, another container with a PID namespace of its own, a row stored by an earlier version), the
heartbeat decides, as a counter that has or has not changed. No decision rests on the wall clock, which is set while
runs go on: a heartbeat that looks old is only believed after it stayed the same for a while by our own steady clock.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from autotuner.store import OwnerRecord, ReadStore, StudyRecord
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.owner import Owner

if TYPE_CHECKING:
    from autotuner.store import Store

HEARTBEAT_S = 5.0
SILENT_AFTER_S = 120.0
"""A run that cannot be seen from here counts as dead when it has been silent for this long."""
CONFIRM_S = 20.0
"""How long a heartbeat that looks that old is watched before it is believed: four intervals of a living run."""
_POLL_S = 1.0


def this_owner() -> Owner:
    """A new identity for this process."""
    return Owner(
        id=uuid.uuid4().hex[:12],
        host=socket.gethostname(),
        pid=os.getpid(),
        started=time.time(),
        process=ProcessIdentity.of_this_process().text,
    )


class OwnerWatch:
    """Tells dead owners from living ones, and remembers what it saw: keep one for as long as the question is asked."""

    def __init__(self, store: ReadStore, steady: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._steady = steady
        self._seen: dict[str, tuple[float, float]] = {}
        """Owner id to (heartbeat, since when by our clock it has been that)."""

    def dead(self) -> frozenset[str]:
        """Ids of the owners that have ended. One that cannot be judged yet is not among them."""
        return self._judged()[0]

    def undecided_s(self, ids: Collection[str] | None = None) -> float:
        """Seconds until it is known of all of these owners (None: of all owners) whether they live; 0 when it is."""
        undecided = self._judged()[1]
        return max((left for owner, left in undecided.items() if ids is None or owner in ids), default=0.0)

    async def settled(self, ids: Collection[str] | None = None) -> frozenset[str]:
        """:meth:`dead`, once nothing is undecided of these owners."""
        import anyio  # the list of studies asks once and does not wait
        from anyio.to_thread import run_sync

        while left_s := await run_sync(self.undecided_s, ids):  # noqa: ASYNC110 - the other side may be far away
            await anyio.sleep(min(left_s, _POLL_S))
        return await run_sync(self.dead)

    def _judged(self) -> tuple[frozenset[str], dict[str, float]]:
        dead = set[str]()
        undecided = dict[str, float]()
        clock: float | None = None
        for record in self._store.owners.all():
            owner = record.owner.id
            running = _is_running(record)
            if running is None:
                clock = self._store.clock() if clock is None else clock
                left_s = self._silence_left_s(record, clock)
                if left_s <= 0:
                    dead.add(owner)
                elif left_s <= CONFIRM_S:
                    undecided[owner] = left_s
            elif not running:
                dead.add(owner)
        return frozenset(dead), undecided

    def _silence_left_s(self, record: OwnerRecord, clock: float) -> float:
        """For how much longer the owner must stay silent to count as dead."""
        now = self._steady()
        heartbeat, since = self._seen.get(record.owner.id, (None, now))
        if heartbeat != record.heartbeat_at:
            since = now
            self._seen[record.owner.id] = (record.heartbeat_at, now)
        looks_dead = clock - record.heartbeat_at > SILENT_AFTER_S
        return (CONFIRM_S if looks_dead else SILENT_AFTER_S) - (now - since)


def _is_running(record: OwnerRecord) -> bool | None:
    """None where only the heartbeat can tell."""
    if record.ended_at is not None:
        return False
    process = ProcessIdentity.parse(record.owner.process)
    return process.is_running() if process else None


def is_running(study: StudyRecord, dead: Collection[str]) -> bool:
    """Whether a living process runs the study; one that was killed still stands in the study's row."""
    return study.owner_id is not None and study.owner_id not in dead


def mark_ended(store: "Store", dead: Collection[str]) -> None:
    """Remembers these owners as ended, so that nobody has to find it out again."""
    for record in store.owners.all():
        if record.ended_at is None and record.owner.id in dead:
            store.owners.end(record.owner.id, time.time())
