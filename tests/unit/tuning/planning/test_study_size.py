"""Counts of a study, computed in one pass over its grid."""

from typing import Any

import pytest

from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning.planning.plan import make_plan

pytestmark = pytest.mark.anyio


class CountingEngine(FakeEngine):
    """Counts how often a configuration is checked."""

    checks = 0

    def check(self, values: Any, hardware: Any) -> Any:
        self.checks += 1
        return super().check(values, hardware)


async def test_the_grid_is_counted_once_for_plan_and_run(loop: Any) -> None:
    engine = CountingEngine(FakeEngineSettings())
    prepared = loop.prepared(engine=engine)
    size = prepared.size
    assert (size.launchable, size.others, size.trials, size.repeats) == (3, 3, 4, 0)
    counted = engine.checks
    assert counted >= 3
    plan = await make_plan(prepared, examples=0, preflight=False)
    assert (plan.launchable, plan.others, plan.trials, plan.repeats) == (3, 3, 4, 0)
    assert engine.checks == counted


@pytest.mark.parametrize(("trials", "repeats", "expected"), [(2, 0, (2, 0)), (20, 0, (4, 0)), (20, 3, (4, 12))])
async def test_budgets_and_the_grid_bound_the_launches(
    loop: Any, trials: int, repeats: int, expected: tuple[int, int]
) -> None:
    size = loop.prepared(loop.spec(trials=trials, repeats=repeats)).size
    assert (size.trials, size.repeats) == expected


async def test_without_parameters_only_the_default_is_launched(loop: Any) -> None:
    size = loop.prepared(loop.spec(repeats=3).replaced(parameters=())).size
    assert (size.launchable, size.others, size.trials, size.repeats) == (None, None, 1, 0)
