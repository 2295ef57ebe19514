"""What happens beside a run: heartbeats, requests to stop, signals, and a study that was taken over."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.errors import StudyBusyError
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store, StoreError
from autotuner.store.owners import OwnerTable
from autotuner.store.studies import StudyTable
from autotuner.study.configuration import DEFAULT
from autotuner.study.measurement import Measurement
from autotuner.study.owner import Owner
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.liveness import attendance
from autotuner.tuning.liveness.attendance import Attendance
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.run_liveness import this_owner
from autotuner.tuning.study_session import Outcome, hand_back, run_held, run_session
from autotuner.tuning.trials.gpu_and_port_leases import Leases
from autotuner.tuning.trials.trial_runner import RunContext, TrialRunner

pytestmark = pytest.mark.anyio


class Taken:
    """A study that is stored and held by an owner, as a worker takes it."""

    def __init__(self, store: Store, prepared: Prepared, **attendance: Any) -> None:
        spec = prepared.spec
        self.store = store
        self.prepared = prepared
        self.owner = this_owner()
        store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
        store.queue.add(spec, source="t", named=True, priority=0, by="me", dead=())
        assert take(store, self.owner) == spec.name
        self.attendance = Attendance(store, spec.name, self.owner, **attendance)

    async def run(self) -> Outcome | None:
        async def work() -> Outcome:
            return await run_held(self.prepared, self.store, self.attendance, source="t", named=True)

        return await self.attendance.over(work)


def take(store: Store, owner: Owner, *, dead: tuple[str, ...] = ()) -> str | None:
    return store.queue.take(worker="w", owner=owner, lease_s=20.0, labels={}, dead=dead)


class Gate:
    """A benchmark whose second trial waits until it may go on."""

    def __init__(self) -> None:
        self.measuring = anyio.Event()
        self.go_on = anyio.Event()

    async def __call__(self, _: Endpoint, window: Window) -> Measurement:
        if window.labels.trial == 1:
            self.measuring.set()
            await self.go_on.wait()
        return scripted_measurement(window)


async def test_a_run_whose_study_was_taken_over_ends_and_records_nothing(loop: Any, store: Store) -> None:
    deployer = FakeDeployer()
    gate = Gate()
    taken = Taken(store, loop.prepared(deployer=deployer, script=gate), lease_s=0.1)
    other = this_owner()
    raised = list[StudyBusyError]()

    async def run() -> None:
        try:
            await taken.run()
        except StudyBusyError as error:
            raised.append(error)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await gate.measuring.wait()
            assert take(store, other, dead=(taken.owner.id,)) == "s"
            before = (store.studies.get("s"), store.trials.all("s"), store.events.read("s"))
    assert "another process took over" in raised[0].message
    assert (store.studies.get("s"), store.trials.all("s"), store.events.read("s")) == before
    assert deployer.live == []
    hand_back(store, "s", taken.owner, requeue=True)
    assert store.studies.holder("s") == (True, other.id)
    entry = store.queue.get("s")
    assert entry is not None
    assert entry.worker_id == "w", "the study stays with its new owner"


async def test_a_trial_of_a_study_that_was_taken_over_is_not_launched(loop: Any, store: Store, tmp_path: Path) -> None:
    """Between two heartbeats, it is the check right before the launch that refuses."""
    deployer = FakeDeployer()
    taken = Taken(store, loop.prepared(deployer=deployer))
    held = store.held("s", taken.owner.id)
    trial = held.trials.add(
        Trial(study="s", number=-1, role=TrialRole.DEFAULT, configuration=DEFAULT), owner_id=taken.owner.id
    )
    assert take(store, this_owner(), dead=(taken.owner.id,)) == "s"
    leases = Leases(held, owner_id=taken.owner.id, study="s", trial=0, dead=lambda: ())
    runner = TrialRunner(RunContext(taken.prepared, taken.owner.id), trial, leases, tmp_path / "0", loop.noted.append)
    with pytest.raises(StudyBusyError, match="another process took over"):
        await runner.run()
    assert deployer.deployed == []


async def test_heartbeats_go_on_while_servers_are_ended(loop: Any, store: Store) -> None:
    """Ending servers can take longer than the lease."""
    taken = Taken(store, loop.prepared(), lease_s=0.1)
    beats = list[float]()

    async def work() -> None:
        store.studies.request_stop("s")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                (before,) = store.owners.all()
                while len(beats) < 3:
                    (now,) = store.owners.all()
                    if now.heartbeat_at > max([before.heartbeat_at, *beats]):
                        beats.append(now.heartbeat_at)
                    await anyio.sleep(0.01)

    with anyio.fail_after(60):
        assert await taken.attendance.over(work) is None
    assert taken.attendance.state == "stopped"
    assert len(beats) == 3


@pytest.mark.parametrize(
    ("table", "call"),
    [(OwnerTable, "heartbeat"), (StudyTable, "stop_requested"), (StudyTable, "set_search_time")],
)
async def test_a_store_that_is_busy_for_a_moment_does_not_end_the_run(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch, table: type, call: str
) -> None:
    real = getattr(table, call)
    gate = Gate()
    calls = 0

    def fail_once(self: object, *args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += gate.measuring.is_set()
        if calls == 1:
            raise StoreError("the database is locked")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(table, call, fail_once)
    monkeypatch.setattr(attendance, "STOP_POLL_S", 0.02)
    taken = Taken(store, loop.prepared(script=gate), lease_s=0.1)
    outcomes = list[Outcome | None]()

    async def run() -> None:
        outcomes.append(await taken.run())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await gate.measuring.wait()
            while calls < 3:  # noqa: ASYNC110 - a thread counts
                await anyio.sleep(0.01)
            gate.go_on.set()
    assert outcomes[0] is not None
    assert outcomes[0].state == "done"


async def test_a_store_that_fails_for_a_whole_lease_ends_the_run(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then, another worker takes the study over."""

    def broken(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    deployer = FakeDeployer()
    gate = Gate()
    taken = Taken(store, loop.prepared(deployer=deployer, script=gate), lease_s=0.1)

    async def break_store() -> None:
        await gate.measuring.wait()
        monkeypatch.setattr(OwnerTable, "heartbeat", broken)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(break_store)
            with pytest.raises(StoreError, match="the disk is full"):
                await taken.run()
    assert deployer.live == []


async def test_a_stop_of_a_resumed_study_before_its_first_launch_is_recorded(loop: Any, store: Store) -> None:
    """The previous run died, so the end of the study has not been recorded yet."""
    prepared = loop.prepared()
    spec = prepared.spec
    store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
    store.studies.set_state("s", "running", None, 2.0)

    class Stopping(FakeDeployer):
        async def reap(self, *_: object, **__: object) -> list[str]:
            store.studies.request_stop("s")
            await anyio.sleep_forever()
            return []

    with anyio.fail_after(60):
        outcome = await run_session(loop.prepared(deployer=Stopping()), store, source="t")
    assert outcome.state == "stopped"
    record = store.studies.get("s")
    assert record is not None
    assert (record.state, record.owner_id) == ("stopped", None)
    assert [event.data["why"] for event in store.events.read("s")] == ["stopped by request after its run had died"]


async def test_a_stop_is_seen_before_the_first_launch(loop: Any, store: Store) -> None:
    class Slow(FakeDeployer):
        async def preflight(self, plans: Any) -> Any:
            store.studies.request_stop("s")
            await anyio.sleep_forever()

    deployer = Slow()
    with anyio.fail_after(60):
        outcome = await run_session(loop.prepared(deployer=deployer), store, source="t")
    assert (outcome.state, outcome.trials, outcome.why) == ("stopped", (), "stopped by request")
    assert deployer.deployed == []
    assert store.studies.holder("s") == (True, None)
    record = store.studies.get("s")
    assert record is not None
    assert record.state == "stopped"
    assert [event.data["why"] for event in store.events.read("s")] == ["stopped by request before its first run began"]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("signals", [1, 2])
async def test_the_first_signal_lets_trials_end_and_the_second_one_does_not(
    loop: Any, store: Store, signals: int
) -> None:
    gate = Gate()
    taken = Taken(store, loop.prepared(script=gate), handle_signals=True, drain_s=60.0)
    outcomes = list[Outcome | None]()

    async def run() -> None:
        outcomes.append(await taken.run())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await gate.measuring.wait()
            send(signal.SIGTERM)
            await _until_winding_down(taken)
            if signals == 2:
                send(signal.SIGTERM)
            else:
                gate.go_on.set()
    states = [trial.state for trial in store.trials.all("s")]
    record = store.studies.get("s")
    assert record is not None
    assert record.state == "interrupted"
    if signals == 1:
        assert states == [TrialState.DONE, TrialState.DONE], "the running trial ended, and no other one began"
        assert outcomes[0] is not None
        assert outcomes[0].state == "interrupted"
    else:
        assert states == [TrialState.DONE, TrialState.RUNNING]
        assert (outcomes, taken.attendance.state) == ([None], "interrupted")


async def _until_winding_down(taken: Taken) -> None:
    runner = taken.attendance.wind_down.__self__  # type: ignore[union-attr]
    while not runner.winding_down:  # noqa: ASYNC110 - set by a signal
        await anyio.sleep(0.01)


async def test_draining_ends_after_its_time(loop: Any, store: Store) -> None:
    gate = Gate()
    taken = Taken(store, loop.prepared(script=gate), handle_signals=True, drain_s=0.05)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(taken.run)
            await gate.measuring.wait()
            send(signal.SIGTERM)
    assert taken.attendance.state == "interrupted"


async def test_a_run_that_nobody_waits_for_ends(loop: Any, store: Store) -> None:
    gate = Gate()
    taken = Taken(store, loop.prepared(script=gate), abandoned=gate.measuring.wait)
    with anyio.fail_after(60):
        assert await taken.run() is None
    assert taken.attendance.state == "interrupted"


@pytest.mark.parametrize("state", ["interrupted", "stopped"])
async def test_the_end_of_a_run_is_stored(loop: Any, store: Store, state: str) -> None:
    gate = Gate()
    prepared = loop.prepared(script=gate)
    taken = Taken(store, prepared, abandoned=gate.measuring.wait if state == "interrupted" else None)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(taken.run)
            await gate.measuring.wait()
            if state == "stopped":
                store.studies.request_stop("s")
    record = store.studies.get("s")
    assert record is not None
    assert (record.state, dict(record.summary or {})["why"]) == (state, f"{state} by request")
