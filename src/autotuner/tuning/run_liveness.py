"""Liveness of runs: what a dead run left behind may be removed, what belongs to a living one must not.

On one machine the kernel answers: a run is its process, identified by :class:`ProcessIdentity`. If the kernel cannot
answer (another machine, a container with its own PID namespace, a row stored by an earlier version), the heartbeat
decides, as a counter that has or has not changed. How long it may be silent is stored with the owner: workers promise
more frequent heartbeats than a run that nobody would take over. No decision depends on the wall clock, which may be
set while runs are active: a heartbeat that looks old, by the database's clock, counts only after it has not changed for
a while by our own monotonic clock.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from autotuner.store import OwnerRecord, ReadStore, StudyRecord
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.owner import CUT_OFF, RUNNING, Owner
from autotuner.study.trial import Trial, TrialState

if TYPE_CHECKING:
    from autotuner.store import Store

HEARTBEAT_S = 5.0
SILENT_AFTER_S = 120.0
"""A run whose process cannot be seen from here counts as dead after this many seconds of silence, unless its owner was
stored with a lease of its own."""
LEASE_S = 20.0
"""The lease of runs that workers start."""
BEATS_PER_LEASE = 5
"""Heartbeats in the time of a lease: a few may be late or lost."""
CONFIRM_S = 20.0
"""Seconds for which a heartbeat that looks that old is watched before it counts: four intervals of a living run."""
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
    """Tells dead owners from living ones. It remembers heartbeats, so keep one instance for as long as you ask."""

    def __init__(self, store: ReadStore, steady: Callable[[], float] = time.monotonic) -> None:
        """Watches all owners of a store."""
        self._store = store
        self._steady = steady
        self._seen: dict[str, tuple[float, float]] = {}
        """Owner id to (heartbeat, time on our clock since it has had that value)."""

    def dead(self) -> frozenset[str]:
        """Ids of the owners that have ended. Undecided ones are not included."""
        return self._judged()[0]

    def undecided(self) -> frozenset[str]:
        """Ids of the owners of which it is not known yet whether they are alive."""
        return frozenset(self._judged()[1])

    def undecided_s(self, ids: Collection[str] | None = None) -> float:
        """Seconds until it is known whether all of these owners (None: all owners) are alive; 0 if it is known."""
        undecided = self._judged()[1]
        return max((left for owner, left in undecided.items() if ids is None or owner in ids), default=0.0)

    async def settled(self, ids: Collection[str] | None = None) -> frozenset[str]:
        """:meth:`dead`, as soon as none of these owners is undecided."""
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
                elif left_s <= _confirm_s(record):
                    undecided[owner] = left_s
            elif not running:
                dead.add(owner)
        return frozenset(dead), undecided

    def _silence_left_s(self, record: OwnerRecord, clock: float) -> float:
        """Seconds for which the owner must stay silent to count as dead."""
        now = self._steady()
        heartbeat, since = self._seen.get(record.owner.id, (None, now))
        if heartbeat != record.heartbeat_at:
            since = now
            self._seen[record.owner.id] = (record.heartbeat_at, now)
        silent_after_s = _silent_after_s(record)
        looks_dead = clock - record.heartbeat_at > silent_after_s
        return (_confirm_s(record) if looks_dead else silent_after_s) - (now - since)


def _silent_after_s(record: OwnerRecord) -> float:
    return SILENT_AFTER_S if record.lease_s is None else record.lease_s


def _confirm_s(record: OwnerRecord) -> float:
    # Half a lease, or an owner that lives would be undecided between any two of its heartbeats.
    return min(CONFIRM_S, _silent_after_s(record) / 2)


def _is_running(record: OwnerRecord) -> bool | None:
    """None if only the heartbeat can tell."""
    if record.ended_at is not None:
        return False
    process = ProcessIdentity.parse(record.owner.process)
    return process.is_running() if process else None


def living_holders(store: ReadStore) -> frozenset[str]:
    """Owners that hold a study and are alive as far as one look can tell: by the kernel or, where it cannot see their
    process, by the age of their heartbeat. For what is displayed; whoever takes something over asks an
    :class:`OwnerWatch`."""
    found = set[str]()
    clock: float | None = None
    for record in store.owners.holding():
        running = _is_running(record)
        if running is None:
            clock = store.clock() if clock is None else clock
            running = clock - record.heartbeat_at <= _silent_after_s(record)
        if running:
            found.add(record.owner.id)
    return frozenset(found)


def as_they_stand(store: ReadStore, owner_id: str | None, trials: Sequence[Trial]) -> Sequence[Trial]:
    """A study's trials for readers. A run that was killed could not store how its trials ended: these are void, as the
    study's next run will store them.

    Args:
        store: The store.
        owner_id: The owner that holds the study; perhaps a dead one.
        trials: The trials as they are stored.
    """
    if not any(trial.state.open for trial in trials) or owner_id in living_holders(store):
        return trials
    return cut_off(trials)


def state_as_it_stands(store: ReadStore, state: str, owner_id: str | None) -> str:
    """A study's state for readers: ``cut off`` if it is stored as running, and its owner has died."""
    return CUT_OFF if state == RUNNING and owner_id not in living_holders(store) else state


def cut_off(trials: Sequence[Trial]) -> Sequence[Trial]:
    """The trials of a study that no living process runs."""
    return [trial.replaced(state=TrialState.VOID) if trial.state.open else trial for trial in trials]


def is_running(study: StudyRecord, dead: Collection[str]) -> bool:
    """Whether a living process runs the study; one that was killed still stands in the study's row."""
    return study.owner_id is not None and study.owner_id not in dead


def mark_ended(store: "Store", dead: Collection[str]) -> None:
    """Stores that these owners have ended, so that this has to be found out only once."""
    for record in store.owners.all():
        if record.ended_at is None and record.owner.id in dead:
            store.owners.end(record.owner.id, time.time())
