"""Leases of GPUs: one trial at a time, all or none, first come first served, never next to foreign programs."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from autotuner.store import Store
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.owner import Owner
from autotuner.testing.fake_deployer import fake_gpus
from autotuner.tuning.run_liveness import this_owner
from support.gpu_machine import Machine, Waiting, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def machine(store: Store) -> Machine:
    return Machine(store)


async def test_leases_are_disjoint_and_released(machine: Machine) -> None:
    async with machine.lease("a", 1) as first, machine.lease("b", 2) as second, machine.lease("a", 1, 1) as third:
        assert (first, second, third) == ([0], [1, 2], [3])
        assert machine.held() == {f"gpu:GPU-fake-{i}" for i in range(4)}
    assert machine.held() == set()
    async with machine.lease("a", 0) as none:
        assert none == []
    assert machine.notes == []


async def test_too_many_gpus_fail_at_once(machine: Machine) -> None:
    with pytest.raises(TrialFailedError) as caught:
        async with machine.lease("a", 5):
            pytest.fail("there are only four")
    failure = caught.value.failure
    assert failure.cause is FailureCause.GPU_UNAVAILABLE
    assert re.findall(r"\d+", failure.message) == ["5", "4"]


async def test_all_or_none(machine: Machine) -> None:
    async with anyio.create_task_group() as tasks, machine.lease("a", 2):
        three = Waiting(machine, "b", 3)
        tasks.start_soon(three)
        await machine.looked()
        held = {
            lease.resource: lease.study for lease in machine.store.leases.all() if lease.resource.startswith("gpu:")
        }
        assert set(held.values()) == {"a"}, "the two free GPUs are not held while a third one is missing"
        assert machine.notes == ["waiting for 3 free GPUs (study a holds GPU 0; study a holds GPU 1)"]
        three.back.set()
    assert len(three.got) == 3
    assert machine.held() == set()


async def test_gpus_of_foreign_programs_are_left_alone_and_reported_once(machine: Machine) -> None:
    machine.use(0, "python3 (pid 7), 4.1 GiB")
    machine.use(2, "Xorg (pid 9)", "python3 (pid 8)")
    async with machine.lease("a", 2) as held:
        assert held == [1, 3]
    assert machine.notes == []
    async with anyio.create_task_group() as tasks:
        three = Waiting(machine, "b", 3)
        tasks.start_soon(three)
        await machine.looked(5)
        assert three.got == []
        assert machine.held() == set(), "a trial that waits for foreign programs blocks no other trial"
        machine.use(2)
        three.back.set()
    assert three.got == [1, 2, 3]
    users = "GPU 0: python3 (pid 7), 4.1 GiB; GPU 2: Xorg (pid 9), python3 (pid 8)"
    assert machine.notes == [f"waiting for 3 free GPUs ({users})"]


async def test_the_wait_for_foreign_programs_ends(machine: Machine) -> None:
    machine.use(1, "python3 (pid 7), 4.1 GiB")
    with pytest.raises(TrialFailedError) as caught:
        async with machine.lease("a", 4, wait_s=0.03):
            pytest.fail("a foreign program uses GPU 1")
    failure = caught.value.failure
    assert failure.cause is FailureCause.GPU_UNAVAILABLE
    assert "4 GPUs" in failure.message
    assert "GPU 1: python3 (pid 7), 4.1 GiB" in failure.message
    assert "deploy" in failure.remedy
    assert machine.held() == set()


async def test_the_wait_for_trials_is_not_limited(machine: Machine) -> None:
    async with anyio.create_task_group() as tasks, machine.lease("a", 3):
        two = Waiting(machine, "b", 2, wait_s=0)
        tasks.start_soon(two)
        await machine.looked(10)
        assert two.got == []
        two.back.set()
    assert len(two.got) == 2, "two of the three, whichever are released first"


async def test_users_of_a_leased_gpu_are_not_foreign(machine: Machine) -> None:
    """From inside a container, our own servers look like foreign programs."""
    async with anyio.create_task_group() as tasks, machine.lease("a", 4, 1):
        machine.gpus = [gpu.model_copy(update={"users": ("server (pid 5)",)}) for gpu in machine.gpus]
        one = Waiting(machine, "a", 1, trial=2, wait_s=0)
        tasks.start_soon(one)
        await machine.looked()
        machine.gpus = fake_gpus(4)
        one.back.set()
    assert one.got == [0]
    assert machine.notes == [], "waiting for the same study is not reported"


async def test_a_trial_that_ends_during_the_look_is_not_foreign(machine: Machine) -> None:
    """The GPUs are looked at first and the leases read afterward; in between, the lease is released."""
    async with AsyncExitStack() as other:
        await other.enter_async_context(machine.lease("a", 4))
        machine.gpus = [gpu.model_copy(update={"users": ("server (pid 5)",)}) for gpu in machine.gpus]

        async def end() -> None:
            machine.gpus = fake_gpus(4)
            await other.aclose()

        machine.after_look = end
        async with machine.lease("b", 4, wait_s=0) as held:
            assert held == [0, 1, 2, 3]
    assert machine.notes == []


async def test_a_cancelled_wait_leaves_nothing(machine: Machine) -> None:
    async with machine.lease("a", 1):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Waiting(machine, "b", 4))
            await machine.until(lambda: len(machine.held()) == 5)
            tasks.cancel_scope.cancel()
        assert machine.held() == {"gpu:GPU-fake-0"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Waiting(machine, "b", 4))
        await machine.until(lambda: machine.order[-1:] == ["b0"])
        tasks.cancel_scope.cancel()
    assert machine.held() == set()


async def test_small_trials_do_not_overtake_a_big_one(machine: Machine) -> None:
    """Neither trials of the same study nor those of another run."""
    async with anyio.create_task_group() as tasks:
        first = Waiting(machine, "a", 1)
        big = Waiting(machine, "a", 4, trial=1)
        small = Waiting(machine, "a", 1, trial=2)
        other = Waiting(machine, "b", 1)
        tasks.start_soon(first)
        await machine.until(lambda: machine.order == ["a0"])
        for later in (big, small, other):
            tasks.start_soon(later)
            await machine.looked()
        assert machine.order == ["a0"], "three GPUs are free, and reserved for the big one"
        first.back.set()
        await machine.until(lambda: machine.order == ["a0", "a1"])
        await machine.looked()
        assert not any(lease.trial == 1 and "claim" in lease.resource for lease in machine.store.leases.all())
        big.back.set()
        await machine.until(lambda: len(machine.order) == 4)
        for later in (small, other):
            later.back.set()
    assert sorted(machine.order[2:]) == ["a2", "b0"], "both, once the big one has ended"
    assert machine.held() == set()


async def test_a_trial_blocked_by_foreign_programs_is_overtaken(machine: Machine) -> None:
    machine.use(3, "python3 (pid 7)")
    async with anyio.create_task_group() as tasks:
        big = Waiting(machine, "a", 4)
        tasks.start_soon(big)
        await machine.looked()
        async with machine.lease("b", 1) as small:
            assert small == [0]
        machine.use(3)
        big.back.set()
    assert big.got == [0, 1, 2, 3]


async def test_runs_on_different_gpus_do_not_wait_for_one_another(store: Store) -> None:
    left = Machine(store)
    right = Machine(store)
    left.gpus = left.gpus[:2]
    right.gpus = right.gpus[2:]
    async with anyio.create_task_group() as tasks, left.lease("a", 1):
        both = Waiting(left, "a", 2, trial=1)
        tasks.start_soon(both)
        await left.looked()
        async with right.lease("b", 2) as held:
            assert held == [2, 3]
        both.back.set()


def ended_process() -> int:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    return gone.pid


async def test_leases_of_a_dead_owner_are_cleaned_up_and_taken_over(machine: Machine, store: Store) -> None:
    here = this_owner()
    process = ProcessIdentity.of_this_process()._replace(pid=ended_process())
    dead = Owner(id="dead", host=here.host, pid=process.pid, started=1.0, process=process.text)
    for owner in (here, dead):
        store.owners.register(owner, time.time())
    for resource in ("gpu:GPU-fake-0", "gpu:GPU-fake-1", "gpu-claim:GPU-fake-2:dead:old:3"):
        assert store.leases.take([resource], owner_id="dead", study="old", trial=3, now=1.0, dead=())
    reaped: list[bool] = []

    async def reap(is_dead: Callable[[str], bool]) -> list[str]:
        reaped.append(is_dead("dead") and not is_dead(here.id))
        assert "gpu:GPU-fake-0" in machine.held(), "cleaned up before it is taken"
        return ["ended process 5 of study old"]

    async with machine.lease("a", 4, reap=reap) as held:
        assert held == [0, 1, 2, 3]
        assert {lease.owner_id for lease in store.leases.all() if lease.resource.startswith("gpu:")} == {"owner-a"}
    assert reaped == [True]
    assert machine.notes == ["ended process 5 of study old"]


def test_runs_of_several_processes_never_share_a_gpu(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "held"
    folder.mkdir()
    taker = str(Path(__file__).with_name("gpu_taker.py"))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    runs = [
        subprocess.Popen([sys.executable, taker, url, str(folder), "4", str(count), "8"], stderr=subprocess.PIPE)
        for count in (1, 2, 3, 4)
    ]
    errors = [run.communicate(timeout=100)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], "\n".join(errors)
    assert list(folder.iterdir()) == []
    assert store.leases.all() == []
