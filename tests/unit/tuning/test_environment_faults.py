"""Environment faults: which trials are repeated, and what stops a study."""

from typing import Any

import pytest

from autotuner.errors import EnvironmentFaultError
from autotuner.events.follow import read
from autotuner.events.types import Notice
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.measurement import Measurement
from autotuner.testing.fake_deployer import Behavior, FakeDeployer
from autotuner.tuning.retry_or_stop import StudyFaultError, retry_notice
from support.study_runs import FAULT, Behaviors, run, slots

pytestmark = pytest.mark.anyio


async def test_environment_fault_is_retried_and_not_counted(loop: Any, store: Store) -> None:
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
    assert notices == [retry_notice(FAULT)] * 4


@pytest.mark.parametrize("parallel", [1, 2])
async def test_faults_in_a_row_stop_the_study(loop: Any, store: Store, parallel: int) -> None:
    deployer = FakeDeployer(behavior=Behaviors(None, *[FAULT] * 20))
    prepared = loop.prepared(loop.spec(max_environment_faults=3, parallel=parallel), deployer=deployer)
    with pytest.raises(StudyFaultError) as caught:
        await run(prepared, store)
    assert (caught.value.failure, str(caught.value)) == (FAULT, str(StudyFaultError(FAULT, 3)))
    assert caught.value.details == {"cause": "port_unavailable", "tries": 3}
    assert isinstance(caught.value, EnvironmentFaultError)
    assert len(deployer.deployed) in {4, 4 + parallel - 1}
    record = store.studies.get("s")
    assert record is not None
    assert (record.state, record.owner_id) == ("failed", None)
    resumed = await run(loop.prepared(loop.spec(max_environment_faults=3)), store)
    results = [slots(t) for t in resumed.trials if t.state.finished]
    assert sorted(map(str, results)) == ["1", "2", "8", "default"], "the same study resumes"


@pytest.mark.parametrize("cause", [FailureCause.NO_BINARY, FailureCause.MODEL_MISSING, FailureCause.DISK_FULL])
async def test_permanent_fault_stops_at_once(loop: Any, store: Store, cause: FailureCause) -> None:
    failure = Failure(cause=cause, message="m", remedy="r")
    deployer = FakeDeployer(behavior=Behaviors(None, failure))
    with pytest.raises(StudyFaultError) as caught:
        await run(loop.prepared(deployer=deployer), store)
    assert (caught.value.failure, str(caught.value)) == (failure, str(StudyFaultError(failure, 1)))
    assert [t.state for t in store.trials.all("s")] == ["done", "void"]


async def test_value_that_is_not_applied_stops_the_study(loop: Any, store: Store) -> None:
    def behave(plan: LaunchPlan) -> Behavior:
        return Behavior(argv=tuple(a for a in plan.argv(host="h", port=1) if not a.startswith("--parallel")))

    prepared = loop.prepared(deployer=FakeDeployer(behavior=behave))
    with pytest.raises(StudyFaultError) as caught:
        await run(prepared, store)
    assert caught.value.failure == TrialFailedError.value_not_applied("parallel", 1, None).failure
    assert [t.state for t in store.trials.all("s")] == ["done", "void"]
    assert len(prepared.benchmark.windows) == 1, "only the default was measured"  # type: ignore[attr-defined]


async def test_defect_voids_the_trial_and_ends_the_run(loop: Any, store: Store) -> None:
    def script(_: Endpoint, __: Window) -> Measurement:
        raise ZeroDivisionError("ours")

    deployer = FakeDeployer()
    with pytest.raises(ZeroDivisionError, match="ours"):
        await run(loop.prepared(deployer=deployer, script=script), store)
    assert [t.state for t in store.trials.all("s")] == ["void"]
    assert store.leases.all() == []
    assert deployer.live == []
