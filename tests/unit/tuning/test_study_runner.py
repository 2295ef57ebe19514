"""Study runner: its trials, their order, and what the search learns."""

from collections.abc import Mapping
from typing import Any

import pytest

from autotuner.events.follow import read
from autotuner.events.types import TrialProposed
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.search import Search, Stop
from autotuner.search.proposals import USED_UP
from autotuner.store import Store
from autotuner.study.base import Value
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware, LaunchPlan
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.search.serving import Serving
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import Behavior, FakeDeployer
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning.budget import trials_used_up
from autotuner.tuning.ending import Ending
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.search_stage import NO_PARAMETERS
from autotuner.tuning.study_trials import StudyTrials
from autotuner.tuning.trials.gpu_and_port_leases import Leases
from autotuner.tuning.trials.trial_runner import RunContext, TrialRunner
from support.study_runs import FAULT, MEMORY, Behaviors, by_slots, run, slots

pytestmark = pytest.mark.anyio


async def test_default_is_trial_0_and_then_the_search(loop: Any, store: Store) -> None:
    outcome = await run(loop.prepared(), store)
    assert [(t.number, t.role, slots(t)) for t in outcome.trials] == [
        (0, "default", "default"),
        (1, "search", 1),
        (2, "search", 2),
        (3, "search", 8),
    ]
    assert all(t.state is TrialState.DONE for t in outcome.trials)
    assert outcome.state == "done"
    assert outcome.why == trials_used_up(4)
    assert store.trials.all("s") == list(outcome.trials)
    proposed = [e.values for e in read(store, "s") if isinstance(e, TrialProposed)]
    assert proposed == [{}, {"parallel": 1}, {"parallel": 2}, {"parallel": 8}]


async def test_trials_are_stored_before_the_next_launch(loop: Any, store: Store) -> None:
    stored: list[int] = []

    def behave(_: LaunchPlan) -> Behavior:
        stored.append(sum(t.state.finished for t in store.trials.all("s")))
        return Behavior()

    await run(loop.prepared(deployer=FakeDeployer(behavior=behave)), store)
    assert stored == [0, 1, 2, 3]


async def test_search_that_runs_out_of_configurations(loop: Any, store: Store) -> None:
    outcome = await run(loop.prepared(loop.spec(trials=50)), store)
    assert len(outcome.trials) == 4
    assert outcome.why == USED_UP.why


async def test_nothing_to_tune_is_one_trial(loop: Any, store: Store) -> None:
    spec = loop.spec(repeats=3).model_copy(update={"parameters": ()})
    outcome = await run(loop.prepared(spec), store)
    assert [t.role for t in outcome.trials] == [TrialRole.DEFAULT]
    assert (outcome.ending, outcome.why) == (Ending.NOTHING_TO_TUNE, NO_PARAMETERS)


async def test_proof_interleaves_repeats(loop: Any, store: Store) -> None:
    rates = {"default": 100.0, "1": 90.0, "2": 150.0, "8": 120.0}
    outcome = await run(loop.prepared(loop.spec(repeats=2), script=by_slots(rates)), store)
    confirms = [t for t in outcome.trials if t.role is TrialRole.CONFIRM]
    made = [(t.repeat_of, slots(t)) for t in confirms]
    assert made == [(0, "default"), (2, 2), (3, 8), (1, 1), (2, 2), (0, "default")], "two were clearly worse"


async def test_proof_continues_in_its_block_and_when_more_blocks_are_allowed(loop: Any, store: Store) -> None:
    rates = {"default": 100.0, "1": 90.0, "2": 150.0, "8": 120.0}
    deployer = FakeDeployer(behavior=Behaviors(None, None, None, None, None, FAULT))
    spec = loop.spec().replaced(confirm=ConfirmSpec(at_most=2, challengers=1))
    first = await run(loop.prepared(spec, deployer=deployer, script=by_slots(rates)), store)
    made = [(t.repeat_of, t.block, t.state.value) for t in first.trials if t.role is TrialRole.CONFIRM]
    assert made == [(0, 1, "done"), (2, 1, "void"), (2, 1, "done"), (2, 2, "done"), (0, 2, "done")]
    assert first.ending is Ending.NO_SIGNIFICANT_DIFFERENCE, "two blocks decide nothing"
    spec = spec.replaced(confirm=ConfirmSpec(challengers=1))
    second = await run(loop.prepared(spec, script=by_slots(rates)), store)
    made = [(t.repeat_of, t.block, t.state.value) for t in second.trials[len(first.trials) :]]
    assert made == [(0, 3, "done"), (2, 3, "done")]
    assert second.ending is Ending.PROVEN_BETTER


async def test_failed_configuration_is_a_result(loop: Any, store: Store) -> None:
    deployer = FakeDeployer(behavior=Behaviors(None, MEMORY, None, MEMORY))
    outcome = await run(loop.prepared(deployer=deployer), store)
    assert [t.state for t in outcome.trials] == ["done", "failed", "done", "failed"]
    assert outcome.state == "done"


async def test_failed_default_does_not_end_the_study(loop: Any, store: Store) -> None:
    deployer = FakeDeployer(behavior=Behaviors(MEMORY))
    outcome = await run(loop.prepared(loop.spec(repeats=1), deployer=deployer), store)
    assert [t.state for t in outcome.trials[:4]] == ["failed", "done", "done", "done"]
    assert [t.repeat_of for t in outcome.trials[4:]] == [1, 2, 3], "the challengers alone"


class TooLarge(FakeEngine):
    """Serves a model that is estimated not to fit on its GPU."""

    def serving(self, values: Mapping[str, Value], hardware: Hardware) -> Serving:
        return Serving(engine="vllm", shape="DeepSeek-V3", simulated=True)

    def machine(self, hardware: Hardware) -> Hardware:
        return hardware.replaced(gpu_name="NVIDIA L4", gpu_memory_gb=22.0)


async def test_what_has_run_is_launched_again_whatever_is_estimated_of_it(loop: Any, store: Store) -> None:
    first = await run(loop.prepared(loop.spec(trials=2)), store)
    assert [t.state for t in first.trials] == ["done", "done"]
    again = loop.prepared(loop.spec(trials=2, repeats=1), engine=TooLarge(FakeEngineSettings()))
    assert again.misfit(DEFAULT) is not None
    second = await run(again, store)
    repeats = [t for t in second.trials if t.role is TrialRole.CONFIRM]
    assert {(t.repeat_of, t.state.value) for t in repeats} == {(0, "done"), (1, "done")}


@pytest.mark.parametrize("measured", [True, False])
async def test_only_configurations_without_a_measurement_are_refused(loop: Any, store: Store, measured: bool) -> None:
    known = Trial(study="s", number=0, role=TrialRole.DEFAULT, configuration=DEFAULT)
    trials = StudyTrials([known.replaced(state=TrialState.DONE)] if measured else [])
    prepared = loop.prepared(engine=TooLarge(FakeEngineSettings()))
    context = RunContext(prepared, "me", has_run=trials.measured)
    leases = Leases(store, owner_id="me", study="s", trial=1, dead=lambda: ())
    trial = known.replaced(number=1, role=TrialRole.SEARCH)
    finished = await TrialRunner(context, trial, leases, loop.folder / "1", loop.noted.append).run()
    assert finished.state is (TrialState.DONE if measured else TrialState.FAILED)


class RecordingSearch:
    """Replaces the search of a study; keeps the trials that it learns from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.learned: list[tuple[int, str]] = []
        learned = self.learned
        tried = [Configuration(values={"parallel": v}) for v in (1, 2, 8)]

        class Recorder(Search):
            def ask(self, history: Any, free: int = 1) -> Configuration | Stop:
                left = [c for c in tried if c.key not in {t.configuration.key for t in history}]
                return left[0] if left else Stop("all tried")

            def tell(self, trial: Trial) -> None:
                learned.append((trial.number, trial.state.value))

        monkeypatch.setattr(Prepared, "search", lambda *_: Recorder(None, None))  # type: ignore[arg-type]


async def test_search_learns_results_only_and_again_when_resumed(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = RecordingSearch(monkeypatch).learned
    deployer = FakeDeployer(behavior=Behaviors(None, FAULT, None, MEMORY))
    first = await run(loop.prepared(loop.spec(trials=3, repeats=1), deployer=deployer), store)
    assert [t.state for t in first.trials[:4]] == ["done", "void", "done", "failed"]
    assert learned == [(0, "done"), (2, "done"), (3, "failed")], "neither faults nor repeats"
    learned.clear()
    again = FakeDeployer()
    second = await run(loop.prepared(loop.spec(trials=4, repeats=1), deployer=again), store)
    assert learned[:3] == [(0, "done"), (2, "done"), (3, "failed")]
    assert len(learned) == 4
    assert list(second.trials[: len(first.trials)]) == list(first.trials), "stored trials are not repeated"
    assert len(again.deployed) == len(second.trials) - len(first.trials)


async def test_finished_study_launches_nothing_more(loop: Any, store: Store) -> None:
    rates = {"default": 100.0, "1": 90.0, "2": 150.0, "8": 120.0}
    spec = loop.spec(repeats=1)
    first = await run(loop.prepared(spec, script=by_slots(rates)), store)
    idle = FakeDeployer()
    second = await run(loop.prepared(spec, deployer=idle, script=by_slots(rates)), store)
    assert idle.deployed == []
    assert second.trials == first.trials


async def test_errors_crashes_and_limits_never_win(loop: Any, store: Store) -> None:
    """A server with errors, one that crashes and a limited client report the best values."""

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
    assert [t.state for t in outcome.trials] == ["done", "done", "done", "failed"], "no challenger, so no proof"
