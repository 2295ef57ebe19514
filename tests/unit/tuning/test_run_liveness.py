"""Who counts as dead."""

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
from autotuner.tuning.run_liveness import CONFIRM_S, SILENT_AFTER_S, OwnerWatch, mark_ended, this_owner

HERE = ProcessIdentity.of_this_process()
FAR = HERE._replace(boot="11111111-2222-3333-4444-555555555555")


def owner(name: str, process: ProcessIdentity | None) -> Owner:
    return Owner(
        id=name, host=socket.gethostname(), pid=os.getpid(), started=1.0, process=process.text if process else ""
    )


class Clock:
    """A steady clock that only moves when told to."""

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
def unreaped() -> Iterator[subprocess.Popen[bytes]]:
    """A process that was killed, and that its parent has not collected."""
    process = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_this_process_lives_however_old_its_heartbeat(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(this_owner(), 0.0)
    assert watch.dead() == frozenset()
    assert watch.undecided_s() == 0


def test_no_clock_has_a_say_on_one_machine(store: Store, watch: OwnerWatch) -> None:
    """The time at which a process started, in seconds since the epoch, changes with the wall clock."""
    for name, started in (("before", 1.0), ("after", 1e12)):
        store.owners.register(this_owner().model_copy(update={"id": name, "started": started}), started)
    assert watch.dead() == frozenset()


def test_one_that_said_goodbye_is_dead(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(this_owner().model_copy(update={"id": "gone"}))
    store.owners.end("gone", 5.0)
    assert watch.dead() == {"gone"}


def test_a_reused_pid_is_not_the_owner(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(owner("old", HERE._replace(ticks=HERE.ticks - 1)))
    assert watch.dead() == {"old"}


def test_a_pid_that_is_gone_is_dead(store: Store, watch: OwnerWatch) -> None:
    store.owners.register(owner("gone", HERE._replace(pid=2**22 + os.getpid())))
    assert watch.dead() == {"gone"}


def test_one_that_was_killed_and_not_collected_is_dead(unreaped: subprocess.Popen[bytes]) -> None:
    fields = Path(f"/proc/{unreaped.pid}/stat").read_text().rpartition(")")[2].split()
    identity = HERE._replace(pid=unreaped.pid, ticks=int(fields[19]))
    assert identity.is_running() is True
    unreaped.kill()
    os.waitid(os.P_PID, unreaped.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_running() is False


@pytest.mark.parametrize(
    "process",
    [FAR, HERE._replace(pid_namespace=HERE.pid_namespace + 1), None],
    ids=["another kernel", "another PID namespace", "a row of an earlier version"],
)
def test_silence_decides_where_processes_cannot_be_compared(
    store: Store, watch: OwnerWatch, clock: Clock, process: ProcessIdentity | None
) -> None:
    """Host name and pid are ours in all three."""
    store.owners.register(owner("far", process), store.clock() - SILENT_AFTER_S - 1)
    assert watch.dead() == frozenset(), "it only looks dead"
    assert watch.undecided_s() == CONFIRM_S
    assert watch.undecided_s({"another"}) == 0
    clock.now += CONFIRM_S - 1
    assert watch.dead() == frozenset()
    clock.now += 1
    assert watch.dead() == {"far"}
    assert watch.undecided_s() == 0


def test_a_heartbeat_that_changes_is_life_whatever_the_wall_clock_says(
    store: Store, watch: OwnerWatch, clock: Clock
) -> None:
    """The clock was set ahead by a day, or the machine slept: all heartbeats look old until the next one."""
    store.owners.register(owner("far", FAR), store.clock() - 86_400)
    for beat in range(10):
        assert watch.dead() == frozenset()
        clock.now += CONFIRM_S - 1
        assert store.owners.heartbeat("far", store.clock() - 86_400 + beat)
    assert watch.dead() == frozenset()


def test_a_heartbeat_from_the_future_expires_too(store: Store, watch: OwnerWatch, clock: Clock) -> None:
    """The dead machine's clock was ahead."""
    store.owners.register(owner("far", FAR), store.clock() + 1e9)
    assert watch.dead() == frozenset()
    assert watch.undecided_s() == 0, "nobody waits for what looks alive"
    clock.now += SILENT_AFTER_S
    assert watch.dead() == {"far"}


def test_one_that_was_taken_for_dead_learns_it(store: Store) -> None:
    store.owners.register(owner("far", FAR))
    store.owners.register(owner("near", HERE))
    assert store.owners.heartbeat("far")
    mark_ended(store, {"far"})
    assert not store.owners.heartbeat("far")
    assert store.owners.heartbeat("near")


def test_identities_are_read_back() -> None:
    assert ProcessIdentity.parse(HERE.text) == HERE
    assert HERE.is_running() is True
    for text in ("", "x", "a:b:c:d", ":1:2:3", f"{HERE.boot}:1:2"):
        assert ProcessIdentity.parse(text) is None
