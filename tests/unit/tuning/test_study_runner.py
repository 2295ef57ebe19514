"""One study on doubles: which trials are made, in which order, how many at a time, and what ends it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from autotuner.errors import EnvironmentFaultError
from autotuner.events.follow import read
from autotuner.events.types import Notice, TrialProposed
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.search import Search, Stop
from autotuner.store import Store
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import LaunchPlan
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import Behavior, FakeDeployer
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning import study_runner
from autotuner.tuning.budget import SearchClock
from autotuner.tuning.ending import Ending
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.retry_or_stop import StudyFaultError
from autotuner.tuning.session import Outcome, run_session

pytestmark = pytest.mark.anyio
FAULT = Failure(cause=FailureCause.PORT_UNAVAILABLE, message="the port is taken", remedy="free it")
MEMORY = Failure(cause=FailureCause.OUT_OF_MEMORY, message="too large")


class GpuEngine(FakeEngine):
    """One GPU each."""

    def gpus(self, values: Any) -> int:
        return 1


async def run(prepared: Prepared, store: Store) -> Outcome:
    return await run_session(prepared, store, source="test")


def slots(trial: Trial) -> object:
    return trial.configuration.values.get("parallel", "default")


def by_slots(rates: dict[str, float]) -> Callable[[Endpoint, Window], Measurement]:
    """A benchmark whose throughput depends on the flag of the server that it is given."""

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        flag = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "default")
        return scripted_measurement(window, rate=rates[flag])

    return script


class Behaviors:
    """Each launch behaves as the next of a list says, the rest well."""

    def __init__(self, *fails: Failure | None) -> None:
        self._fails = list(fails)

    def __call__(self, _: LaunchPlan) -> Behavior:
        return Behavior(fails=self._fails.pop(0) if self._fails else None)


async def test_the_default_is_trial_0_and_then_the_search(loop: Any, store: Store) -> None:
    outcome = await run(loop.prepared(), store)
    assert [(t.number, t.role, slots(t)) for t in outcome.trials] == [
        (0, "default", "default"),
        (1, "search", 1),
        (2, "search", 2),
        (3, "search", 8),
    ]
    assert all(t.state is TrialState.DONE for t in outcome.trials)
    assert outcome.state == "done"
    assert "4" in outcome.why
    assert store.trials.all("s") == list(outcome.trials)
    proposed = [e.values for e in read(store, "s") if isinstance(e, TrialProposed)]
    assert proposed == [{}, {"parallel": 1}, {"parallel": 2}, {"parallel": 8}]


async def test_every_trial_is_stored_before_the_next_is_launched(loop: Any, store: Store) -> None:
    stored: list[int] = []

    def behave(_: LaunchPlan) -> Behavior:
        stored.append(sum(t.state.finished for t in store.trials.all("s")))
        return Behavior()

    await run(loop.prepared(deployer=FakeDeployer(behavior=behave)), store)
    assert stored == [0, 1, 2, 3]


async def test_a_search_that_ends_by_itself_says_why(loop: Any, store: Store) -> None:
    outcome = await run(loop.prepared(loop.spec(trials=50)), store)
    assert len(outcome.trials) == 4
    assert outcome.why
    assert "budget" not in outcome.why


async def test_nothing_to_tune_is_one_trial(loop: Any, store: Store) -> None:
    spec = loop.spec(repeats=3).model_copy(update={"parameters": ()})
    outcome = await run(loop.prepared(spec), store)
    assert [t.role for t in outcome.trials] == [TrialRole.DEFAULT]
    assert outcome.ending is Ending.NOTHING_TO_TUNE


async def test_the_proof_follows_interleaved(loop: Any, store: Store) -> None:
    rates = {"default": 100.0, "1": 90.0, "2": 150.0, "8": 120.0}
    outcome = await run(loop.prepared(loop.spec(repeats=2), script=by_slots(rates)), store)
    confirms = [t for t in outcome.trials if t.role is TrialRole.CONFIRM]
    made = [(t.repeat_of, slots(t)) for t in confirms]
    assert made == [(0, "default"), (2, 2), (3, 8), (1, 1), (2, 2), (0, "default")], "two fell clearly behind"


async def test_trials_that_disturb_one_another_are_found_out_by_the_proof(loop: Any, store: Store) -> None:
    alive: list[int] = []

    async def script(endpoint: Endpoint, window: Window) -> Measurement:
        alive.append(window.labels.trial)
        if 1 <= window.labels.trial <= 3:
            with anyio.fail_after(60):
                while len(alive) < 4:  # noqa: ASYNC110 - the others come by themselves
                    await anyio.sleep(0.01)
        shared = 3 if 1 <= window.labels.trial <= 3 else 1
        rates = {"default": 160.0, "1": 240.0, "2": 241.0, "8": 239.0}
        return by_slots({k: v / shared for k, v in rates.items()})(endpoint, window)

    outcome = await run(loop.prepared(loop.spec(parallel=3, repeats=2), script=script), store)
    notices = [e.text for e in read(store, "s") if isinstance(e, Notice)]
    assert [n for n in notices if "67% worse" in n]
    assert outcome.ending is Ending.PROVEN_BETTER


async def test_a_failed_configuration_is_a_result_and_the_study_goes_on(loop: Any, store: Store) -> None:
    deployer = FakeDeployer(behavior=Behaviors(None, MEMORY, None, MEMORY))
    outcome = await run(loop.prepared(deployer=deployer), store)
    assert [t.state for t in outcome.trials] == ["done", "failed", "done", "failed"]
    assert outcome.state == "done"


async def test_a_default_that_fails_does_not_end_the_study(loop: Any, store: Store) -> None:
    deployer = FakeDeployer(behavior=Behaviors(MEMORY))
    outcome = await run(loop.prepared(loop.spec(repeats=1), deployer=deployer), store)
    assert [t.state for t in outcome.trials[:4]] == ["failed", "done", "done", "done"]
    assert [t.repeat_of for t in outcome.trials[4:]] == [1, 2, 3], "the challengers alone"


class Told:
    """Records what the search is asked and told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[int, str]] = []
        told = self.told
        tried = [Configuration(values={"parallel": v}) for v in (1, 2, 8)]

        class Recorder(Search):
            def ask(self, history: Any, free: int = 1) -> Configuration | Stop:
                left = [c for c in tried if c.key not in {t.configuration.key for t in history}]
                return left[0] if left else Stop("all tried")

            def tell(self, trial: Trial) -> None:
                told.append((trial.number, trial.state.value))

        monkeypatch.setattr(Prepared, "search", lambda _: Recorder(None, None))  # type: ignore[arg-type]


async def test_only_results_are_told_and_a_resumed_search_is_told_them_again_in_order(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch).told
    deployer = FakeDeployer(behavior=Behaviors(None, FAULT, None, MEMORY))
    first = await run(loop.prepared(loop.spec(trials=3, repeats=1), deployer=deployer), store)
    assert [t.state for t in first.trials[:4]] == ["done", "void", "done", "failed"]
    assert told == [(0, "done"), (2, "done"), (3, "failed")], "neither faults nor repeats"
    told.clear()
    again = FakeDeployer()
    second = await run(loop.prepared(loop.spec(trials=4, repeats=1), deployer=again), store)
    assert told[:3] == [(0, "done"), (2, "done"), (3, "failed")]
    assert len(told) == 4
    assert list(second.trials[: len(first.trials)]) == list(first.trials), "what is stored is not made again"
    assert len(again.deployed) == len(second.trials) - len(first.trials)


async def test_a_finished_study_launches_nothing_more(loop: Any, store: Store) -> None:
    rates = {"default": 100.0, "1": 90.0, "2": 150.0, "8": 120.0}
    spec = loop.spec(repeats=1)
    first = await run(loop.prepared(spec, script=by_slots(rates)), store)
    idle = FakeDeployer()
    second = await run(loop.prepared(spec, deployer=idle, script=by_slots(rates)), store)
    assert idle.deployed == []
    assert second.trials == first.trials


@pytest.mark.parametrize("parallel", [2, 3])
async def test_never_more_at_once_than_there_are_slots(loop: Any, store: Store, parallel: int) -> None:
    deployer = FakeDeployer(max_live=parallel)
    held: Counter[str] = Counter()
    together: list[int] = []

    async def script(_: Endpoint, window: Window) -> Measurement:
        if 1 <= window.labels.trial <= parallel:
            together.append(window.labels.trial)
            with anyio.fail_after(60):
                while len(together) < parallel:  # noqa: ASYNC110 - the others come by themselves
                    await anyio.sleep(0.01)
        resources = [r.resource for r in store.leases.all()]
        held.update(resources)
        assert len(resources) == len(set(resources))
        mine = [r for r in store.leases.all() if r.trial == window.labels.trial]
        assert sorted(r.resource.split(":")[0] for r in mine) == ["gpu", "port"]
        return scripted_measurement(window)

    engine = GpuEngine(FakeEngineSettings())
    prepared = loop.prepared(
        loop.spec(parallel=parallel), deployer=deployer, engine=engine, script=script, gpus=parallel
    )
    outcome = await run(prepared, store)
    assert [t.state for t in outcome.trials] == ["done"] * 4
    assert deployer.most_live == parallel, "and as many as there are"
    assert sum(r.startswith("gpu:") for r in held) == parallel
    assert store.leases.all() == []
    assert [slots(t) for t in outcome.trials] == ["default", 1, 2, 8]


async def test_slots_wait_for_gpus(loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slots and one GPU: one server at a time."""
    monkeypatch.setattr("autotuner.tuning.trials.gpu_and_port_leases.POLL_S", 0.02)
    deployer = FakeDeployer(max_live=1)
    prepared = loop.prepared(loop.spec(parallel=3), deployer=deployer, engine=GpuEngine(FakeEngineSettings()), gpus=1)
    outcome = await run(prepared, store)
    assert [t.state for t in outcome.trials] == ["done"] * 4
    assert deployer.most_live == 1


async def test_two_runs_on_one_store_never_share_a_gpu_or_a_port(
    loop: Any, store: Store, another_loop: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotuner.tuning.trials.gpu_and_port_leases.POLL_S", 0.02)
    using: Counter[str] = Counter()
    together = 0

    async def script(endpoint: Endpoint, window: Window) -> Measurement:
        nonlocal together
        mine = {
            r.resource
            for r in store.leases.all()
            if (r.study, r.trial, r.owner_id) == (window.labels.study, window.labels.trial, window.labels.owner)
        }
        assert len(mine) == 3
        assert endpoint.url.rpartition(":")[2] in {r.rpartition(":")[2] for r in mine}
        using.update(mine)
        together = max(together, sum(using.values()))
        assert max(using.values()) == 1, using
        if window.labels.trial == 1:
            with anyio.fail_after(60):
                while together < 6:  # noqa: ASYNC110 - the other run comes by itself
                    await anyio.sleep(0.01)
        using.subtract(mine)
        return scripted_measurement(window)

    class TwoGpus(FakeEngine):
        def gpus(self, values: Any) -> int:
            return 2

    outcomes: list[Outcome] = []

    async def one(made: Any, name: str) -> None:
        prepared = made.prepared(
            made.spec(name, parallel=2), script=script, engine=TwoGpus(FakeEngineSettings()), gpus=5
        )
        outcomes.append(await run(prepared, store))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, loop, "s")
        tasks.start_soon(one, another_loop("t"), "t")
    assert [t.state for o in outcomes for t in o.trials] == ["done"] * 8
    assert together == 6, "two of them ran at once"


async def test_an_environment_fault_is_retried_and_not_counted(loop: Any, store: Store) -> None:
    deployer = FakeDeployer(behavior=Behaviors(FAULT, None, FAULT, FAULT, None, FAULT, None))
    outcome = await run(loop.prepared(deployer=deployer), store)
    made = [(slots(t), t.state.value) for t in outcome.trials]
    assert made == [
        ("default", "void"),
        ("default", "done"),
        (1, "void"),
        (1, "void"),
        (1, "done"),
        (2, "void"),
        (2, "done"),
        (8, "done"),
    ]
    notices = [e.text for e in read(store, "s") if isinstance(e, Notice)]
    assert len(notices) == 4
    assert all(n.startswith("port_unavailable: ") for n in notices)


@pytest.mark.parametrize("parallel", [1, 2])
async def test_faults_in_a_row_stop_the_study(loop: Any, store: Store, parallel: int) -> None:
    deployer = FakeDeployer(behavior=Behaviors(None, *[FAULT] * 20))
    prepared = loop.prepared(loop.spec(max_environment_faults=3, parallel=parallel), deployer=deployer)
    with pytest.raises(StudyFaultError) as caught:
        await run(prepared, store)
    assert (caught.value.failure.cause, caught.value.remedy) == (FailureCause.PORT_UNAVAILABLE, "free it")
    assert caught.value.details == {"cause": "port_unavailable", "tries": 3}
    assert isinstance(caught.value, EnvironmentFaultError)
    assert len(deployer.deployed) in {4, 4 + parallel - 1}
    record = store.studies.get("s")
    assert record is not None
    assert (record.state, record.owner_id) == ("failed", None)
    resumed = await run(loop.prepared(loop.spec(max_environment_faults=3)), store)
    results = [slots(t) for t in resumed.trials if t.state.finished]
    assert sorted(map(str, results)) == ["1", "2", "8", "default"], "the same study goes on"


@pytest.mark.parametrize("cause", [FailureCause.NO_BINARY, FailureCause.MODEL_MISSING, FailureCause.DISK_FULL])
async def test_what_a_second_try_does_not_cure_stops_at_once(loop: Any, store: Store, cause: FailureCause) -> None:
    deployer = FakeDeployer(behavior=Behaviors(None, Failure(cause=cause, message="m", remedy="r")))
    with pytest.raises(StudyFaultError) as caught:
        await run(loop.prepared(deployer=deployer), store)
    assert (caught.value.failure.cause, caught.value.remedy) == (cause, "r")
    assert [t.state for t in store.trials.all("s")] == ["done", "void"]


async def test_a_value_that_is_not_applied_stops_the_study_loudly(loop: Any, store: Store) -> None:
    def behave(plan: LaunchPlan) -> Behavior:
        return Behavior(argv=tuple(a for a in plan.argv(host="h", port=1) if not a.startswith("--parallel")))

    prepared = loop.prepared(deployer=FakeDeployer(behavior=behave))
    with pytest.raises(StudyFaultError) as caught:
        await run(prepared, store)
    assert caught.value.failure.cause is FailureCause.VALUE_NOT_APPLIED
    assert "parallel=1" in caught.value.message
    assert [t.state for t in store.trials.all("s")] == ["done", "void"]
    assert len(prepared.benchmark.windows) == 1, "only the default was measured"  # type: ignore[attr-defined]


class Clock:
    """The search's clock, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(study_runner, "SearchClock", lambda: SearchClock(lambda: self.now))


async def test_the_time_budget_ends_the_search_and_not_the_proof(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        clock.now += 600.0
        return by_slots({"default": 1.0, "1": 2.0})(endpoint, window)

    outcome = await run(loop.prepared(loop.spec(time_s=1000.0, repeats=1), script=script), store)
    assert [t.role for t in outcome.trials] == ["default", "search", "confirm", "confirm"]
    assert "time budget" in outcome.why
    record = store.studies.get("s")
    assert record is not None
    assert record.search_s == 1200.0, "the proof is not charged"
    again = await run(loop.prepared(loop.spec(time_s=1100.0, repeats=1), script=script), store)
    assert len(again.trials) == 4, "a resumed study does not get its time twice"


async def test_a_trial_that_lasts_far_beyond_the_time_budget_is_cut_off(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_runner, "_LOOK_S", 0.02)
    clock = Clock(monkeypatch)
    deployer = FakeDeployer()

    async def script(endpoint: Endpoint, window: Window) -> Measurement:
        if window.labels.trial == 1:
            clock.now += 5000.0
            await anyio.sleep_forever()
        return by_slots({"default": 1.0})(endpoint, window)

    with anyio.fail_after(60):
        outcome = await run(loop.prepared(loop.spec(time_s=1000.0), script=script, deployer=deployer), store)
    assert [t.state for t in outcome.trials] == ["done", "void"]
    assert outcome.trials[1].phases["launching"] >= 0, "the time that it took is known"
    assert "time budget" in outcome.why
    assert deployer.live == []


async def test_errors_crashes_and_limits_never_win(loop: Any, store: Store) -> None:
    """The fastest figures of all come from a server that fails, one that crashes and a client that cannot keep up."""

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        flags = " ".join(endpoint.argv)
        if "--parallel=1" in flags:
            return scripted_measurement(window, rate=1e9, failed=40)
        if "--parallel=2" in flags:
            check = SelfCheck(client_limited=True, reasons=("lag",))
            return scripted_measurement(window, rate=1e9, self_check=check)
        if "--parallel=8" in flags:
            endpoint.kill()  # type: ignore[attr-defined]
            return scripted_measurement(window, rate=1e9)
        return scripted_measurement(window, rate=10.0)

    outcome = await run(loop.prepared(loop.spec(repeats=2), script=script), store)
    assert [t.state for t in outcome.trials] == ["done", "done", "done", "failed"], "no candidate, so no proof"


async def test_a_defect_voids_the_trial_and_ends_the_run(loop: Any, store: Store) -> None:
    def script(_: Endpoint, __: Window) -> Measurement:
        raise ZeroDivisionError("ours")

    deployer = FakeDeployer()
    with pytest.raises(ZeroDivisionError, match="ours"):
        await run(loop.prepared(deployer=deployer, script=script), store)
    assert [t.state for t in store.trials.all("s")] == ["void"]
    assert store.leases.all() == []
    assert deployer.live == []
