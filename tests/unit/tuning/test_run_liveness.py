"""Liveness of runs: which owners count as dead."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.store import Store
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.owner import Owner
from autotuner.tuning.run_liveness import (
    BEATS_PER_LEASE,
    CONFIRM_S,
    LEASE_S,
    SILENT_AFTER_S,
    OwnerWatch,
    mark_ended,
    this_owner,
)

HERE = ProcessIdentity.of_this_process()
FAR = HERE._replace(boot="11111111-2222-3333-4444-555555555555")


def owner(name: str, process: ProcessIdentity | None) -> Owner:
    return Owner(
        id=name, host=socket.gethostname(), pid=os.getpid(), started=1.0, process=process.text if process else ""
    )


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(store: Store, clock: Clock) -> OwnerWatch:
    return OwnerWatch(store, clock)


@pytest.fixture
def zombie() -> Iterator[subprocess.Popen[bytes]]:
    """A process that its parent does not reap when it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_running_process_with_an_old_heartbeat_is_alive(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(this_owner(), 0.0)
    assert watch.dead() == frozenset()
    assert watch.undecided_s() == 0


def test_start_times_do_not_matter_on_one_machine(store: Store, watch: OwnerWatch) -> None:
    """The time at which a process started, in seconds since the epoch, changes with the wall clock."""
    for name, started in (("before", 1.0), ("after", 1e12)):
        store.owners.register(this_owner().model_copy(update={"id": name, "started": started}), started)
    assert watch.dead() == frozenset()


def test_ended_owner_is_dead(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(this_owner().model_copy(update={"id": "gone"}))
    store.owners.end("gone", 5.0)
    assert watch.dead() == {"gone"}


def test_reused_pid_is_another_process(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(owner("old", HERE._replace(ticks=HERE.ticks - 1)))
    assert watch.dead() == {"old"}


def test_missing_pid_is_dead(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(owner("gone", HERE._replace(pid=2**22 + os.getpid())))
    assert watch.dead() == {"gone"}


def test_zombie_is_dead(zombie: subprocess.Popen[bytes]) -> None:
    fields = Path(f"/proc/{zombie.pid}/stat").read_text().rpartition(")")[2].split()
    identity = HERE._replace(pid=zombie.pid, ticks=int(fields[19]))
    assert identity.is_running() is True
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_running() is False


@pytest.mark.parametrize(
    "process",
    [FAR, HERE._replace(pid_namespace=HERE.pid_namespace + 1), None],
    ids=["another kernel", "another PID namespace", "a row of an earlier version"],
)
def test_heartbeat_decides_if_processes_cannot_be_compared(
    store: Store, watch: OwnerWatch, clock: Clock, process: ProcessIdentity | None
) -> None:
    """Host name and pid are this process's in all three cases."""
    store.owners.register(owner("far", process), store.clock() - SILENT_AFTER_S - 1)
    assert watch.dead() == frozenset(), "it looks dead, but is undecided"
    assert watch.undecided_s() == CONFIRM_S
    assert watch.undecided_s({"another"}) == 0
    clock.now += CONFIRM_S - 1
    assert watch.dead() == frozenset()
    clock.now += 1
    assert watch.dead() == {"far"}
    assert watch.undecided_s() == 0


def test_changing_heartbeat_means_alive_despite_the_wall_clock(store: Store, watch: OwnerWatch, clock: Clock) -> None:
    """The clock was set ahead by a day, or the machine slept: all heartbeats look old until the next one."""
    store.owners.register(owner("far", FAR), store.clock() - 86_400)
    for beat in range(10):
        assert watch.dead() == frozenset()
        clock.now += CONFIRM_S - 1
        assert store.owners.heartbeat("far", store.clock() - 86_400 + beat)
    assert watch.dead() == frozenset()


def test_a_living_owner_with_a_short_lease_is_decided_between_its_heartbeats(
    store: Store, watch: OwnerWatch, clock: Clock
) -> None:
    store.owners.register(owner("far", FAR), store.clock(), lease_s=LEASE_S)
    assert watch.undecided_s() == 0
    clock.now += LEASE_S / BEATS_PER_LEASE
    assert watch.undecided_s() == 0
    clock.now += LEASE_S / 2
    assert 0 < watch.undecided_s() < LEASE_S / 2
    clock.now += LEASE_S / 2
    assert watch.dead() == {"far"}


def test_heartbeat_from_the_future_expires(store: Store, watch: OwnerWatch, clock: Clock) -> None:
    """The clock of the dead owner's machine was ahead."""
    store.owners.register(owner("far", FAR), store.clock() + 1e9)
    assert watch.dead() == frozenset()
    assert watch.undecided_s() == 0, "an owner that looks alive is not undecided"
    clock.now += SILENT_AFTER_S
    assert watch.dead() == {"far"}


def test_owner_taken_for_dead_is_notified_by_its_heartbeat(store: Store) -> None:
    store.owners.register(owner("far", FAR))
    store.owners.register(owner("near", HERE))
    assert store.owners.heartbeat("far")
    mark_ended(store, {"far"})
    assert not store.owners.heartbeat("far")
    assert store.owners.heartbeat("near")


def test_process_identity_round_trip() -> None:
    assert ProcessIdentity.parse(HERE.text) == HERE
    assert HERE.is_running() is True
    for text in ("", "x", "a:b:c:d", ":1:2:3", f"{HERE.boot}:1:2"):
        assert ProcessIdentity.parse(text) is None
