"""GPUs are leased to one trial at a time, all or none, in the order of asking, and never beside strangers."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.errors import UsageError
from autotuner.events.journal import Journal
from autotuner.events.types import Event, Notice, PhaseEntered
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, GpuSample
from autotuner.study.measurement import Measurement
from autotuner.study.objective import Objective
from autotuner.study.owner import Owner
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.spec import ConfirmSpec, EngineSpec, Model, PluginSpec, SearchSpec, StudySpec
from autotuner.study.trial import Phase, Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency, Workload
from autotuner.testing.benchmark_kit import Script, ScriptedBenchmark, fixed_scenario
from autotuner.testing.fake_deployer import FakeDeployer, fake_gpus
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.testing.samples import THROUGHPUT
from autotuner.tuning.planning.prepared_study import Prepared, _check_metrics
from autotuner.tuning.run_liveness import OwnerWatch, this_owner
from autotuner.tuning.study_runner import StudyRunner
from autotuner.tuning.trials import gpu_and_port_leases
from autotuner.tuning.trials.gpu_and_port_leases import Leases
from autotuner.tuning.trials.trial_runner import RunContext, TrialRunner

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(gpu_and_port_leases, "POLL_S", 0.005)
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


class Machine:
    """GPUs, and trials of several studies that lease them."""

    def __init__(self, store: Store, count: int = 4) -> None:
        self.store = store
        self.gpus = fake_gpus(count)
        self.notes: list[str] = []
        self.order: list[str] = []
        self.looks = 0
        self.after_look: Callable[[], Awaitable[None]] | None = None
        """Called once: what happens between a look at the GPUs and the caller's next step."""

    async def look(self) -> Sequence[Gpu]:
        self.looks += 1
        seen = list(self.gpus)
        after = self.after_look
        self.after_look = None
        if after is not None:
            await after()
        return seen

    def use(self, index: int, *users: str) -> None:
        self.gpus[index] = self.gpus[index].model_copy(update={"users": users})

    @asynccontextmanager
    async def lease(self, study: str, count: int, trial: int = 0, **more: Any) -> AsyncIterator[list[int]]:
        made = Leases(
            self.store,
            owner_id=f"owner-{study}",
            study=study,
            trial=trial,
            dead=OwnerWatch(self.store).dead,
        )
        async with made.gpus(count, self.look, note=self.notes.append, **more) as held:
            self.order.append(f"{study}{trial}")
            yield [gpu.index for gpu in held]

    async def until(self, true: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not true():  # noqa: ASYNC110 - no event tells
                await anyio.sleep(0.002)

    async def looked(self, times: int = 3) -> None:
        """Until whoever waits has looked that many times more."""
        before = self.looks
        await self.until(lambda: self.looks >= before + times)

    def held(self) -> set[str]:
        return {lease.resource for lease in self.store.leases.all()}


@pytest.fixture
def machine(store: Store) -> Machine:
    return Machine(store)


class Waiting:
    """A trial that asks in the background, and gives back when told."""

    def __init__(self, machine: Machine, study: str, count: int, **more: Any) -> None:
        self._machine = machine
        self._study = study
        self._count = count
        self._more = more
        self.got: list[int] = []
        self.back = anyio.Event()
        self.ended = False

    async def __call__(self) -> None:
        async with self._machine.lease(self._study, self._count, **self._more) as held:
            self.got = held
            await self.back.wait()
        self.ended = True


async def test_leases_are_disjoint_and_given_back(machine: Machine) -> None:
    async with machine.lease("a", 1) as first, machine.lease("b", 2) as second, machine.lease("a", 1, 1) as third:
        assert (first, second, third) == ([0], [1, 2], [3])
        assert machine.held() == {f"gpu:GPU-fake-{i}" for i in range(4)}
    assert machine.held() == set()
    async with machine.lease("a", 0) as none:
        assert none == []
    assert machine.notes == []


async def test_too_many_is_told_at_once(machine: Machine) -> None:
    with pytest.raises(TrialFailedError, match="5 GPUs are needed, and the target has 4") as caught:
        async with machine.lease("a", 5):
            pytest.fail("there are only four")
    assert caught.value.failure.cause is FailureCause.GPU_UNAVAILABLE


async def test_all_or_none(machine: Machine) -> None:
    async with anyio.create_task_group() as tasks, machine.lease("a", 2):
        three = Waiting(machine, "b", 3)
        tasks.start_soon(three)
        await machine.looked()
        held = {
            lease.resource: lease.study for lease in machine.store.leases.all() if lease.resource.startswith("gpu:")
        }
        assert set(held.values()) == {"a"}, "none of the two free ones is held while a third is missing"
        assert machine.notes == ["waiting for 3 free GPUs (study a holds GPU 0; study a holds GPU 1)"]
        three.back.set()
    assert len(three.got) == 3
    assert machine.held() == set()


async def test_strangers_are_left_alone_and_told_once(machine: Machine) -> None:
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
        assert machine.held() == set(), "who waits for strangers keeps nobody else waiting"
        machine.use(2)
        three.back.set()
    assert three.got == [1, 2, 3]
    strangers = "GPU 0: python3 (pid 7), 4.1 GiB; GPU 2: Xorg (pid 9), python3 (pid 8)"
    assert machine.notes == [f"waiting for 3 free GPUs ({strangers})"]


async def test_patience_with_strangers_ends(machine: Machine) -> None:
    machine.use(1, "python3 (pid 7), 4.1 GiB")
    with pytest.raises(TrialFailedError) as caught:
        async with machine.lease("a", 4, wait_s=0.03):
            pytest.fail("a stranger is there")
    failure = caught.value.failure
    assert failure.cause is FailureCause.GPU_UNAVAILABLE
    assert failure.message == "4 GPUs are needed, and others use them (GPU 1: python3 (pid 7), 4.1 GiB)"
    assert "deploy" in failure.remedy
    assert machine.held() == set()


async def test_patience_is_not_spent_on_our_own_trials(machine: Machine) -> None:
    async with anyio.create_task_group() as tasks, machine.lease("a", 3):
        two = Waiting(machine, "b", 2, wait_s=0)
        tasks.start_soon(two)
        await machine.looked(10)
        assert two.got == []
        two.back.set()
    assert len(two.got) == 2, "whichever of the three are given back first"


async def test_what_is_seen_on_a_leased_gpu_is_no_stranger(machine: Machine) -> None:
    """From inside of a container our own servers cannot be told from others'."""
    async with anyio.create_task_group() as tasks, machine.lease("a", 4, 1):
        machine.gpus = [gpu.model_copy(update={"users": ("server (pid 5)",)}) for gpu in machine.gpus]
        one = Waiting(machine, "a", 1, trial=2, wait_s=0)
        tasks.start_soon(one)
        await machine.looked()
        machine.gpus = fake_gpus(4)
        one.back.set()
    assert one.got == [0]
    assert machine.notes == [], "to wait for one's own study is no news"


async def test_a_trial_that_ends_during_the_look_was_no_foreign_program(machine: Machine) -> None:
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
    """Neither those of the same study nor those of another run."""
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
        assert machine.order == ["a0"], "three GPUs are free, and kept for the big one"
        first.back.set()
        await machine.until(lambda: machine.order == ["a0", "a1"])
        await machine.looked()
        assert not any(lease.trial == 1 and "claim" in lease.resource for lease in machine.store.leases.all())
        big.back.set()
        await machine.until(lambda: len(machine.order) == 4)
        for later in (small, other):
            later.back.set()
    assert sorted(machine.order[2:]) == ["a2", "b0"], "both, once the big one has gone"
    assert machine.held() == set()


async def test_a_big_one_that_strangers_block_is_overtaken(machine: Machine) -> None:
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


async def test_runs_with_gpus_of_their_own_do_not_wait_for_one_another(store: Store) -> None:
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


async def test_what_a_dead_owner_held_is_cleaned_and_taken_over(machine: Machine, store: Store) -> None:
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
        assert "gpu:GPU-fake-0" in machine.held(), "cleaned before it is taken"
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
    told = [run.communicate(timeout=100)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], "\n".join(told)
    assert list(folder.iterdir()) == []
    assert store.leases.all() == []


# Trials and studies on doubles


def measured(window: Any, rate: float = 100.0) -> Measurement:
    return Measurement(
        scenario=window.scenario.text,
        level=window.level,
        window_s=1.0,
        requests=4,
        failed=0,
        scalars={"output_throughput": rate, "success_rate": 1.0},
        started_at=time.time() - 1.0,
    )


def prepared(deployer: FakeDeployer, script: Script, tps: tuple[Value, ...], **search: Any) -> Prepared:
    notes = ("x", "y", "z")
    spec = StudySpec(
        name="s",
        model=Model(path="m"),
        engine=EngineSpec(kind="fake", args={"tp": 1}),
        deploy=PluginSpec(kind="fake"),
        parameters=(
            Parameter(name="note", domain=Choices(values=notes)),
            Parameter(name="tp", domain=Choices(values=tps)),
        ),
        workload=Workload(scenarios=(fixed_scenario(),), levels=(Concurrency(in_flight=1),)),
        objectives=(THROUGHPUT,),
        search=SearchSpec(**{"kind": "grid", "trials": 1 + len(notes) * len(tps), **search}),
        confirm=ConfirmSpec(repeats=0),
    )
    return Prepared(
        spec=spec,
        engine=FakeEngine(FakeEngineSettings()),
        deployer=deployer,
        benchmark=ScriptedBenchmark(script),
        hardware=deployer._machine,
        model=spec.model,
        space=Space(parameters=spec.parameters),
        default=None,
    )


async def run_study(study: Prepared, store: Store) -> list[Trial]:
    owner = this_owner()
    store.owners.register(owner, time.time())
    store.studies.create(study.spec, source="test", digest="d", now=time.time())
    async with Journal(store) as journal:
        return await StudyRunner(study, store, owner, journal).run()


async def test_a_parallel_study_shares_no_gpu_and_runs_two_at_a_time(store: Store) -> None:
    deployer = FakeDeployer(gpus=fake_gpus(4))

    async def script(_: Endpoint, window: Any) -> Measurement:
        with anyio.move_on_after(5):
            while deployer.most_live < 2 and window.labels.trial:  # noqa: ASYNC110 - no event tells
                await anyio.sleep(0.002)
        return measured(window)

    trials = await run_study(prepared(deployer, script, (1, 2), parallel=2), store)
    assert [t.state for t in trials] == [TrialState.DONE] * 7
    assert deployer.most_live == 2
    assert [t.gpus for t in trials] == [1, *(t.configuration.values["tp"] for t in trials[1:])]
    assert {g.uuid for _, gpus in deployer.leased for g in gpus} >= {"GPU-fake-0", "GPU-fake-1"}
    assert store.leases.all() == []
    per_gpu = [t.measurements[0].scalars["output_throughput_per_gpu"] for t in trials]
    assert per_gpu == [100.0 / t.gpus for t in trials]


async def test_a_trial_of_all_gpus_gets_its_turn_in_a_parallel_study(store: Store) -> None:
    deployer = FakeDeployer(gpus=fake_gpus(4))

    async def script(_: Endpoint, window: Any) -> Measurement:
        await anyio.sleep(0.05)
        return measured(window)

    trials = await run_study(prepared(deployer, script, (1, 4), parallel=3), store)
    assert {t.state for t in trials} == {TrialState.DONE}
    big = [t.number for t in trials if t.gpus == 4]
    order = [labels.trial for labels, _ in deployer.leased]
    for number in big:
        later = [n for n in order[: order.index(number)] if n > number]
        assert len(later) <= 1, f"trial {number} was overtaken by {later}"


async def one_trial(study: Prepared, store: Store, tp: int, note: Callable[[Event], None]) -> Trial:
    trial = Trial(study="s", number=7, role=TrialRole.SEARCH, configuration=Configuration(values={"tp": tp}))
    mine = Leases(store, owner_id="me", study="s", trial=7, dead=lambda: ())
    return await TrialRunner(RunContext(study, "me"), trial, mine, Path(os.environ["AUTOTUNER_HOME"]) / "7", note).run()


async def test_a_trials_time_begins_with_its_gpus(store: Store) -> None:
    deployer = FakeDeployer(gpus=fake_gpus(1))
    study = prepared(deployer, lambda _, window: measured(window), (1,), trial_timeout_s=5.0)
    held = Machine(store, 1)
    begun = time.time()
    ended: list[Trial] = []

    async def run() -> None:
        ended.append(await one_trial(study, store, 1, lambda _: None))

    async with anyio.create_task_group() as tasks, held.lease("other", 1):
        tasks.start_soon(run)
        await held.until(lambda: any("claim" in name for name in held.held()))
        released = time.time()
    (trial,) = ended
    assert trial.state is TrialState.DONE
    assert begun < released <= (trial.started_at or 0.0)
    assert trial.phases["queued"] > 0


async def test_a_timeout_is_the_launched_trials_own(store: Store) -> None:
    async def script(_: Endpoint, __: Any) -> Measurement:
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    study = prepared(FakeDeployer(gpus=fake_gpus(1)), script, (1,), trial_timeout_s=0.05)
    trial = await one_trial(study, store, 1, lambda _: None)
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.TRIAL_TIMEOUT
    assert store.leases.all() == []


async def test_a_stranger_makes_the_trial_wait_with_a_notice(store: Store) -> None:
    deployer = FakeDeployer(gpus=fake_gpus(2))
    deployer.machine_gpus[0] = deployer.machine_gpus[0].model_copy(update={"users": ("python3 (pid 7)",)})
    notices: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)
            deployer.machine_gpus = fake_gpus(2)

    trial = await one_trial(prepared(deployer, lambda _, w: measured(w), (2,)), store, 2, note)
    assert trial.state is TrialState.DONE
    assert notices == ["waiting for 2 free GPUs (GPU 0: python3 (pid 7))"]


async def test_sensors_of_the_leased_gpus_become_energy_per_token(store: Store) -> None:
    deployer = FakeDeployer(gpus=fake_gpus(4), sensors=lambda gpu: GpuSample(at=0.0, index=gpu.index, power_w=300.0))

    async def script(_: Endpoint, window: Any) -> Measurement:
        await anyio.sleep(0.05)
        return measured(window)

    trial = await one_trial(prepared(deployer, script, (2,)), store, 2, lambda _: None)
    (window,) = trial.measurements
    assert window.gpu_use is not None
    assert window.gpu_use.power_w == 600.0
    assert window.scalars["energy_per_token"] == pytest.approx(6.0)
    assert window.scalars["output_throughput_per_gpu"] == 50.0


async def test_without_gpus_their_figures_are_absent_and_cannot_be_asked_for(store: Store) -> None:
    deployer = FakeDeployer()
    study = prepared(deployer, lambda _, window: measured(window), (0,))
    trial = await one_trial(study, store, 0, lambda _: None)
    assert set(trial.measurements[0].scalars) == {"output_throughput", "success_rate"}
    goal = Objective(metric="output_throughput_per_gpu", direction=THROUGHPUT.direction)
    asked = study.spec.model_copy(update={"objectives": (goal,)})
    with pytest.raises(UsageError, match="objective = max output_throughput_per_gpu: measured only on GPUs"):
        _check_metrics(replace(study, spec=asked))


class SimulatedEngine(FakeEngine):
    """Its server says that it is a simulator."""

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        return {"simulated": True}


async def test_live_views_learn_of_gpus_and_simulators_before_the_first_number(store: Store) -> None:
    study = prepared(FakeDeployer(gpus=fake_gpus(2)), lambda _, window: measured(window), (2,))
    study = replace(study, engine=SimulatedEngine(FakeEngineSettings()))
    noted: list[Event] = []
    trial = await one_trial(study, store, 2, noted.append)
    assert trial.simulated
    phases = {event.phase: event for event in noted if isinstance(event, PhaseEntered)}
    assert [(phases[p].gpus, phases[p].simulated) for p in (Phase.LAUNCHING, Phase.READY)] == [(2, False)] * 2
    warming = phases[Phase.WARMING]
    assert (warming.gpus, warming.simulated) == (2, True)
    assert [event.kind for event in noted].index("progress") > noted.index(warming)
