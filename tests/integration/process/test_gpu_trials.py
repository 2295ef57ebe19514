"""Trials and studies that need GPUs, on doubles: waiting, timeouts, sensors, and figures per GPU."""

import os
import time
from collections.abc import Callable, Mapping
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
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.launch import GpuSample
from autotuner.study.measurement import Measurement
from autotuner.study.objective import Objective
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.spec import ConfirmSpec, EngineSpec, Model, PluginSpec, SearchSpec, StudySpec
from autotuner.study.trial import Phase, Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency, Workload
from autotuner.testing.benchmark_kit import Script, ScriptedBenchmark, fixed_scenario
from autotuner.testing.fake_deployer import FakeDeployer, fake_gpus
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.testing.samples import THROUGHPUT
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.planning.unmeasurable_goals import check_metrics
from autotuner.tuning.run_liveness import this_owner
from autotuner.tuning.study_runner import StudyRunner
from autotuner.tuning.trials.gpu_and_port_leases import Leases
from autotuner.tuning.trials.trial_runner import RunContext, TrialRunner
from support.gpu_machine import Machine, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio


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
            while deployer.most_live < 2 and window.labels.trial:  # noqa: ASYNC110 - there is no event to wait for
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
        while window.labels.trial:
            ended = {labels.trial for labels in deployer.released}
            waiting_or_held = {lease.trial for lease in store.leases.all()} - ended
            if len(waiting_or_held) >= min(3, 7 - len(ended)):
                break
            await anyio.sleep(0.002)
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


async def test_the_trial_timeout_starts_with_the_lease(store: Store) -> None:
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


async def test_a_launched_trial_times_out(store: Store) -> None:
    async def script(_: Endpoint, __: Any) -> Measurement:
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    study = prepared(FakeDeployer(gpus=fake_gpus(1)), script, (1,), trial_timeout_s=0.05)
    trial = await one_trial(study, store, 1, lambda _: None)
    assert trial.failure is not None
    assert trial.failure.cause is FailureCause.TRIAL_TIMEOUT
    assert store.leases.all() == []


async def test_a_trial_that_waits_for_a_foreign_program_sends_a_notice(store: Store) -> None:
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


async def test_without_gpus_their_metrics_are_absent_and_refused_as_objectives(store: Store) -> None:
    deployer = FakeDeployer()
    study = prepared(deployer, lambda _, window: measured(window), (0,))
    trial = await one_trial(study, store, 0, lambda _: None)
    assert set(trial.measurements[0].scalars) == {"output_throughput", "success_rate"}
    goal = Objective(metric="output_throughput_per_gpu", direction=THROUGHPUT.direction)
    spec = study.spec.model_copy(update={"objectives": (goal,)})
    with pytest.raises(UsageError) as caught:
        check_metrics(replace(study, spec=spec))
    (problem,) = caught.value.problems
    assert (problem.where, problem.value) == ("objective", "max output_throughput_per_gpu")


class SimulatedEngine(FakeEngine):
    """An engine whose server reports that it is a simulator."""

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        return {"simulated": True}


async def test_gpus_and_simulators_are_reported_before_the_first_number(store: Store) -> None:
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
