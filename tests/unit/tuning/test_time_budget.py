"""Time budget of a study: it ends the search, not the proof, and cuts off a trial that lasts too long."""

from typing import Any

import anyio
import pytest

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.study.measurement import Measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning import study_runner
from autotuner.tuning.budget import SearchClock, time_used_up
from support.study_runs import by_slots, run

pytestmark = pytest.mark.anyio


class Clock:
    """The search's clock, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(study_runner, "SearchClock", lambda: SearchClock(lambda: self.now))


async def test_time_budget_ends_the_search_and_not_the_proof(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        clock.now += 600.0
        return by_slots({"default": 1.0, "1": 2.0})(endpoint, window)

    outcome = await run(loop.prepared(loop.spec(time_s=1000.0, repeats=1), script=script), store)
    assert [t.role for t in outcome.trials] == ["default", "search", "confirm", "confirm"]
    assert outcome.why == time_used_up(1000)
    record = store.studies.get("s")
    assert record is not None
    assert record.search_s == 1200.0, "the proof is not charged"
    again = await run(loop.prepared(loop.spec(time_s=1100.0, repeats=1), script=script), store)
    assert len(again.trials) == 4, "a resumed study does not get its time twice"


async def test_trial_far_beyond_the_time_budget_is_cut_off(
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
    assert outcome.why == time_used_up(1000)
    assert deployer.live == []
