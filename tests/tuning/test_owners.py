"""Who counts as dead."""

import os
import socket

from autotuner.store import OwnerRecord
from autotuner.study.owner import Owner
from autotuner.tuning.owners import SILENT_AFTER_S, dead_owners, this_owner


def record(owner: Owner, *, heartbeat_at: float = 1000.0, ended_at: float | None = None) -> OwnerRecord:
    return OwnerRecord(owner=owner, heartbeat_at=heartbeat_at, ended_at=ended_at)


def test_this_process_lives_however_old_its_heartbeat() -> None:
    assert dead_owners([record(this_owner(), heartbeat_at=0.0)], now=1e12) == frozenset()


def test_one_that_said_goodbye_is_dead() -> None:
    owner = this_owner()
    assert dead_owners([record(owner, ended_at=5.0)], now=10.0) == {owner.id}


def test_a_reused_pid_is_not_the_owner() -> None:
    stranger = this_owner().model_copy(update={"id": "old", "started": 12345.0})
    assert dead_owners([record(stranger)], now=1000.0) == {"old"}


def test_a_pid_that_is_gone_is_dead() -> None:
    gone = Owner(id="gone", host=socket.gethostname(), pid=2**22 + os.getpid(), started=1.0)
    assert dead_owners([record(gone)], now=1000.0) == {"gone"}


def test_another_host_is_judged_by_its_silence() -> None:
    far = Owner(id="far", host="another-host.invalid", pid=1, started=1.0)
    assert dead_owners([record(far)], now=1000.0 + SILENT_AFTER_S - 1) == frozenset()
    assert dead_owners([record(far)], now=1000.0 + SILENT_AFTER_S + 1) == {"far"}
