"""Resuming a study whose baseline has changed: what is measured, kept and paired."""

from typing import Any

import pytest

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.report.headline import headline
from autotuner.report.result import study_result
from autotuner.store import Store
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.measurement import Measurement
from autotuner.study.quality.result import QualityResult, QualityState
from autotuner.study.quality.spec import QualitySpec
from autotuner.study.spec import ConfirmSpec, StudySpec
from autotuner.study.trial import TrialRole, TrialState
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.planning.resume_decision import FORMER, judged_again, standing
from autotuner.tuning.study_session import run_session
from support.studies.changed import by_slots, run, slots

pytestmark = pytest.mark.anyio


async def test_another_baseline_is_measured_and_compared_with_anew(loop: Any, store: Store) -> None:
    """Its proof shares no block with that of the former one, whose results count again once it returns."""
    changes: dict[str, Any] = {"parameters": slots(1, 2, 8), "confirm": ConfirmSpec(repeats=2, challengers=1)}
    launched, before = await run(loop, store, **changes)
    assert launched == ["", "--parallel=1", "--parallel=2", "--parallel=8", *["", "--parallel=8", "--parallel=8", ""]]
    stated = {**changes, "baseline": {"parallel": 2}}
    launched, trials = await run(loop, store, **stated)
    assert launched == ["--parallel=2", *["--parallel=2", "--parallel=8"], *["--parallel=8", "--parallel=2"]]
    aside = [t.number for t in trials if t.set_aside]
    assert aside == [0, 2, 4, 5, 6, 7], "the default, the trial that the baseline repeats, and all former repeats"
    assert {t.set_aside for t in trials} == {"", FORMER}, "their configurations are still those of the study"
    spec: StudySpec = loop.spec(trials=20).model_copy(update=stated)
    found = standing(loop.prepared(spec), store, {}, named=True)
    assert (found.former, found.set_aside) == (6, 0)
    assert f"6 set aside ({FORMER})" in found.text
    result = study_result(spec, "done", trials)
    assert result.default is not None
    assert (result.default.number, result.default.configuration.values) == (8, {"parallel": 2})
    assert headline(result).startswith("best: trial 3, parallel=8: +100% output throughput vs baseline (95% interval")
    assert {t.block for t in trials if t.number > 8} == {3, 4}
    launched, trials = await run(loop, store, **changes)
    assert launched == []
    assert [t.replaced(set_aside="") for t in trials[:8]] == before
    assert [t.number for t in trials if t.set_aside] == [8, 9, 10, 11, 12]
    launched, trials = await run(loop, store, **{**changes, "baseline": {"parallel": "2"}})
    assert launched == [], "another spelling of one server"


async def test_an_unchanged_baseline_is_kept_however_it_is_written(loop: Any, store: Store) -> None:
    space = {"parameters": slots(1, 8)}
    await run(loop, store, **space, baseline={"parallel": 2})
    launched, trials = await run(loop, store, **space, baseline={"parallel": 2})
    assert (launched, [t.number for t in trials if t.set_aside]) == ([], [])
    launched, trials = await run(loop, store, **space, baseline={"parallel": None})
    assert launched == [""]
    launched, trials = await run(loop, store, **space)
    assert launched == [], "null leaves the flag out, as the default does"
    assert trials[-1].configuration.values == {}


async def test_repeats_without_a_default_are_not_paired_with_a_later_baseline(loop: Any, store: Store) -> None:
    def failing(endpoint: Endpoint, window: Window) -> Measurement:
        if not any("parallel" in a for a in endpoint.argv):
            raise TrialFailedError.because(FailureCause.CRASH_UNDER_LOAD, "it ended")
        return by_slots(endpoint, window)

    deployer = FakeDeployer()
    spec: StudySpec = loop.spec(trials=20).model_copy(
        update={"parameters": slots(1, 8), "confirm": ConfirmSpec(repeats=2, challengers=1)}
    )
    first = await run_session(loop.prepared(spec, deployer=deployer, script=failing), store, source="t")
    assert {t.block for t in first.trials if t.repeat_of} == {1, 2}
    _, trials = await run(
        loop, store, parameters=spec.parameters, confirm=spec.confirm.replaced(repeats=3), baseline={"parallel": 2}
    )
    blocks = {t.number: [r.block for r in trials if r.repeat_of == t.number] for t in trials if t.configuration.values}
    baseline = next(t.number for t in trials if t.role is TrialRole.DEFAULT and t.state is TrialState.DONE)
    assert min(b for b in blocks[baseline] if b) == 3


async def test_answers_that_were_compared_with_a_former_baseline_do_not_count(loop: Any, store: Store) -> None:
    space = {"parameters": slots(1, 2, 8)}
    _, trials = await run(loop, store, **space)
    compared = QualityResult(state=QualityState.COMPARED, reference=0)
    trials[1] = trials[1].replaced(quality=compared)
    record = store.studies.get("s")
    assert record is not None
    for quality, aside in ((None, {0, 2}), (QualitySpec(), {0, 1, 2})):
        spec: StudySpec = loop.spec(trials=20).model_copy(
            update={**space, "quality": quality, "baseline": {"parallel": 2}}
        )
        changed = judged_again(loop.prepared(spec, script=by_slots), record, trials)
        assert {t.number for t in changed if t.set_aside} == aside
    unchanged: StudySpec = loop.spec(trials=20).model_copy(update={**space, "quality": QualitySpec()})
    assert not [t for t in judged_again(loop.prepared(unchanged), record, trials) if t.set_aside]
