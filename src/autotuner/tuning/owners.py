"""Who is running, and who is dead: what a dead owner left behind may be removed, a living owner's never."""

import os
import socket
import time
import uuid
from collections.abc import Iterable

import psutil

from autotuner.store import OwnerRecord
from autotuner.study.owner import Owner

HEARTBEAT_S = 5.0
SILENT_AFTER_S = 120.0
"""An owner on another host that has not been heard of for this long counts as dead."""


def this_owner() -> Owner:
    """A new identity for this process."""
    started = psutil.Process().create_time()
    return Owner(id=uuid.uuid4().hex[:12], host=socket.gethostname(), pid=os.getpid(), started=started)


def is_dead(record: OwnerRecord, now: float) -> bool:
    """Whether an owner has ended: it said so, its process is gone, or (other hosts) it fell silent."""
    if record.ended_at is not None:
        return True
    if record.owner.host != socket.gethostname():
        return now - record.heartbeat_at > SILENT_AFTER_S
    try:
        started = psutil.Process(record.owner.pid).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - record.owner.started) > 1.0


def dead_owners(records: Iterable[OwnerRecord], now: float | None = None) -> frozenset[str]:
    """Ids of the owners that have ended."""
    at = time.time() if now is None else now
    return frozenset(r.owner.id for r in records if is_dead(r, at))
