"""Trials of one study side by side: slots, GPUs and ports, and their influence on one another."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from autotuner.events.follow import read
from autotuner.events.types import Notice
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.study.measurement import Measurement
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning.ending import Ending
from autotuner.tuning.proof.noise import interference_text
from autotuner.tuning.study_session import Outcome
from support.study_runs import GpuEngine, by_slots, run, slots

pytestmark = pytest.mark.anyio


async def test_proof_detects_trials_that_disturbed_one_another(loop: Any, store: Store) -> None:
    alive: list[int] = []

    async def script(endpoint: Endpoint, window: Window) -> Measurement:
        alive.append(window.labels.trial)
        if 1 <= window.labels.trial <= 3:
            with anyio.fail_after(60):
                while len(alive) < 4:  # noqa: ASYNC110 - the other trials give no event
                    await anyio.sleep(0.01)
        shared = 3 if 1 <= window.labels.trial <= 3 else 1
        rates = {"default": 160.0, "1": 240.0, "2": 241.0, "8": 239.0}
        return by_slots({k: v / shared for k, v in rates.items()})(endpoint, window)

    outcome = await run(loop.prepared(loop.spec(parallel=3, repeats=2), script=script), store)
    notices = [e.text for e in read(store, "s") if isinstance(e, Notice)]
    assert notices == [interference_text(2 / 3)]
    assert outcome.ending is Ending.PROVEN_BETTER


@pytest.mark.parametrize("parallel", [2, 3])
async def test_as_many_at_once_as_slots(loop: Any, store: Store, parallel: int) -> None:
    deployer = FakeDeployer(max_live=parallel)
    held: Counter[str] = Counter()
    together: list[int] = []

    async def script(_: Endpoint, window: Window) -> Measurement:
        if 1 <= window.labels.trial <= parallel:
            together.append(window.labels.trial)
            with anyio.fail_after(60):
                while len(together) < parallel:  # noqa: ASYNC110 - the other trials give no event
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
    assert deployer.most_live == parallel, "all slots are used"
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


async def test_two_runs_never_share_a_gpu_or_a_port(
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
                while together < 6:  # noqa: ASYNC110 - the other run gives no event
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
    assert together == 6, "two trials ran at the same time"
