"""Baselines of entries of ``engines``: launched first, proven, named, and changed one by one."""

from typing import Any

import pytest

from autotuner.report.engine_defaults import engine_defaults, engine_lines
from autotuner.report.headline import headline
from autotuner.report.result import StudyResult, study_result
from autotuner.store import Store
from autotuner.study.trial import TrialRole
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.study_session import run_session
from support.studies.engines import entry, prepared, study

pytestmark = pytest.mark.anyio


async def run(loop: Any, store: Store, *entries: Any) -> tuple[StudyResult, int]:
    """The result, and the number of launches of this run."""
    spec = study(*entries, confirm={"repeats": 2, "challengers": 1}, search={"strategy": "grid", "trials": 12})
    used: dict[str, FakeDeployer] = {}
    outcome = await run_session(prepared(loop, spec, used), store, source="t")
    launched = sum(len(deployer.deployed) for deployer in used.values())
    return study_result(spec, outcome.state, outcome.trials), launched


async def test_each_engine_is_represented_by_what_runs_today(loop: Any, store: Store) -> None:
    first = entry("a", 2, 8, baseline={"parallel": 4})
    result, _ = await run(loop, store, first, entry("b", 2, 16, baseline={"parallel": 6}), entry("c", 2))
    assert [dict(t.configuration.values) for t in result.trials[:3]] == [
        {"engine": "a", "a.parallel": 4},
        {"engine": "b", "b.parallel": 6},
        {"engine": "c"},
    ]
    assert [t.role for t in result.trials[:3]] == [TrialRole.DEFAULT, TrialRole.SEARCH, TrialRole.SEARCH]
    repeated = [t.repeat_of for t in result.trials if t.role is TrialRole.CONFIRM]
    assert {0, 1, 2} < set(repeated), "all of them are proven, beside the best one"
    assert [d.reference for d in engine_defaults(result)] == ["baseline", "baseline", "default"]
    assert " vs baseline (" in headline(result)
    lines = engine_lines(result)
    assert lines[0].startswith("The baseline of b (trial 1): +21% output throughput vs the baseline of a (")
    assert lines[1].startswith("The default of c (trial 2): ")


async def test_the_baseline_of_another_engine_changes_alone(loop: Any, store: Store) -> None:
    first = entry("a", 2)
    before, _ = await run(loop, store, first, entry("b", 2, 16))
    after, launched = await run(loop, store, first, entry("b", 2, 16, baseline={"parallel": 6}))
    former = {1, *(t.number for t in before.trials if t.repeat_of == 1)}
    assert {t.number for t in after.trials if t.set_aside} == former
    new = [t for t in after.trials if t.number >= len(before.trials)]
    assert len(new) == launched
    assert [dict(t.configuration.values) for t in new if t.engine_default] == [{"engine": "b", "b.parallel": 6}]
    assert after.default == before.default
