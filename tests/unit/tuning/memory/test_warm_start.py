"""A study that learns from an earlier one: end to end, on doubles of server and load."""

import json
from typing import Any

import pytest

from autotuner.cli.study_page import study_text
from autotuner.cli.texts import plan_text
from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.errors import UsageError
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.report.exports import export_text
from autotuner.report.result import study_result
from autotuner.store import Store
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.search.evidence import NO_EVIDENCE, EarlierTrial, Facet
from autotuner.study.spec import EngineSpec, StudySpec
from autotuner.study.trial import Trial
from autotuner.study.workload import Concurrency
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.memory.present_terms import in_present_terms
from autotuner.tuning.planning.plan import make_plan
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.study_session import run_session, standing_of
from support.web.reports import report_text

pytestmark = pytest.mark.anyio
SPEED = {1: 0.5, 2: 0.8, 4: 2.0, 8: 1.2, 16: 0.9, 32: 0.6, None: 0.7}
BEST = 4


def by_slots(endpoint: Endpoint, window: Window) -> Measurement:
    """Four slots are by far the best; nothing about the number tells it."""
    flags = dict(zip(endpoint.argv, endpoint.argv[1:], strict=False))
    speed = SPEED[int(flags["--parallel"]) if "--parallel" in flags else None]
    level = window.level
    assert isinstance(level, Concurrency)
    ttft = 0.1 / speed
    tpot = 0.01 * level.in_flight**0.3 / speed
    rate = level.in_flight * 8 / (ttft + 7 * tpot)
    found = {"ttft": constant(ttft), "tpot": constant(tpot)}
    return scripted_measurement(window, rate=rate, distributions=found)


def constant(value: float) -> Distribution:
    times = dict.fromkeys(("mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"), value)
    return Distribution(count=100, std=0.0, **times)


def study(loop: Any, name: str, *, trials: int = 2, **search: Any) -> StudySpec:
    kind = "grid" if name == "first" else "calibrated"  # the first one measures everything
    spec: StudySpec = loop.spec(name, levels=2, **{"kind": kind, "trials": trials, **search})
    slots = Parameter(name="parallel", domain=Choices(values=(1, 2, 4, 8, 16, 32)))
    return spec.model_copy(update={"engine": EngineSpec(kind="llama_cpp"), "parameters": (slots,)})


def prepared(loop: Any, spec: StudySpec) -> Prepared:
    made: Prepared = loop.prepared(spec, engine=LlamaCpp(LlamaCppSettings()), deployer=FakeDeployer(), script=by_slots)
    return made


async def run(loop: Any, store: Store, name: str, **search: Any) -> list[Trial]:
    spec = study(loop, name, **search)
    outcome = await run_session(prepared(loop, spec), store, source="t")
    return list(outcome.trials)


def slots(trials: list[Trial]) -> list[Any]:
    return [t.configuration.values.get("parallel") for t in trials]


async def test_a_second_study_begins_where_the_first_one_ended(loop: Any, store: Store) -> None:
    await run(loop, store, "first", trials=7)
    trials = await run(loop, store, "second")
    assert slots(trials) == [None, BEST]
    assert trials[1].rationale is not None
    assert trials[1].rationale.memory_weight is not None
    assert trials[1].rationale.memory_weight > 0.5
    record = store.studies.get("second")
    assert record is not None
    assert record.beginning is not None
    (learned,) = record.beginning.learned
    assert (learned.study, learned.trials, learned.levels) == ("first", 7, 14)
    assert (set(learned.same), learned.other) == (set(Facet), ())


async def test_what_it_learned_from_is_shown_and_enters_no_result(loop: Any, store: Store) -> None:
    await run(loop, store, "first", trials=7)
    spec = study(loop, "second")
    new = prepared(loop, spec)
    found = await standing_of(new, store, source="t", named=True)
    assert found.beginning is not None
    text = found.beginning.text
    assert "first" in text
    assert text in plan_text(await make_plan(new, preflight=False, standing=found))
    trials = await run(loop, store, "second")
    record = store.studies.get("second")
    assert record is not None
    assert record.beginning == found.beginning
    result = study_result(record.spec, record.state, trials, beginning=record.beginning)
    assert {t.study for t in result.trials} == {"second"}
    assert len(result.trials) == 2
    assert text in study_text(result, width=400)
    assert json.loads(export_text(result, "json"))["beginning"]["learned"][0]["study"] == "first"
    assert record.beginning.learned[0].text in report_text(result)


async def test_a_resumed_study_knows_what_it_knew_when_it_began(loop: Any, store: Store) -> None:
    await run(loop, store, "first", trials=7)
    await run(loop, store, "second")
    known = store.studies.evidence("second")
    assert [s.study for s in known.studies] == ["first"]
    store.studies.delete("first")
    await run(loop, store, "third", trials=3)
    trials = await run(loop, store, "second", trials=3)
    assert len(trials) == 3
    assert store.studies.evidence("second") == known
    await run(loop, store, "second", trials=4, warm_start="none")
    assert store.studies.evidence("second") == NO_EVIDENCE, "its file asks for another start now"


def over(spec: StudySpec, *parameters: Parameter) -> StudySpec:
    return spec.model_copy(update={"parameters": parameters})


def setups(**points: int) -> Parameter:
    own = {name: {"parallel": count} for name, count in points.items()}
    return Parameter(name="setup", domain=Choices(values=tuple(own)), combinations=own)


async def remembered_trials(loop: Any, store: Store, before: StudySpec, after: StudySpec) -> list[EarlierTrial]:
    """What a study knows that began with these parameters and has others now."""
    await run_session(prepared(loop, over(study(loop, "first", trials=4), *before.parameters)), store, source="t")
    await run_session(prepared(loop, before), store, source="t")
    (known,) = in_present_terms(prepared(loop, after), store.studies.evidence(before.name)).studies
    return list(known.trials)


async def test_a_combination_that_means_something_else_now_is_not_confused(loop: Any, store: Store) -> None:
    before = over(study(loop, "second", trials=1), setups(a=4, b=1, c=8))
    after = over(study(loop, "second"), setups(a=1, b=16, c=8))
    found = await remembered_trials(loop, store, before, after)
    by_count = {t.flags.get("parallel"): t for t in found}
    assert set(by_count) == {None, 1, 4, 8}
    known = {count: t.configuration for count, t in by_count.items()}
    assert known == {None: DEFAULT, 1: None, 4: None, 8: Configuration(values={"setup": "c"})}
    assert {count: t.values.get("setup") for count, t in by_count.items()} == {
        None: None,
        1: "a",
        4: None,
        8: "c",
    }
    trials = (await run_session(prepared(loop, after), store, source="t")).trials
    assert trials[1].configuration == Configuration(values={"setup": "c"}), "not a, which was the best one"


async def test_a_removed_parameter_is_a_difference(loop: Any, store: Store) -> None:
    slots = Parameter(name="parallel", domain=Choices(values=(1, 2)))
    batch = Parameter(name="batch-size", domain=Choices(values=(512, 1024)))
    before = over(study(loop, "second", trials=1), slots, batch)
    found = await remembered_trials(loop, store, before, over(before, slots))
    assert [t.configuration for t in found] == [DEFAULT, *[None] * 3]
    assert [t.unlike for t in found] == [(), *((f"batch-size={t.flags['batch-size']}",) for t in found[1:])]


async def test_studies_may_be_named_or_left_out(loop: Any, store: Store) -> None:
    await run(loop, store, "first", trials=7)
    await run(loop, store, "alone", warm_start="none")
    assert store.studies.evidence("alone") == NO_EVIDENCE
    await run(loop, store, "named", warm_start=("alone",))
    assert [s.study for s in store.studies.evidence("named").studies] == ["alone"]
    await run(loop, store, "second")
    assert {s.study for s in store.studies.evidence("second").studies} == {"first", "alone", "named"}


@pytest.mark.parametrize(
    ("search", "where"),
    [
        ({"warm_start": ("first", "fist")}, "search.warm_start[1]"),
        ({"warm_start": ("first",), "kind": "random"}, "search.warm_start"),
    ],
)
async def test_what_cannot_be_learned_from_is_refused(
    loop: Any, store: Store, search: dict[str, Any], where: str
) -> None:
    await run(loop, store, "first", trials=2)
    spec = study(loop, "second", warm_start=search["warm_start"])
    spec = spec.replaced(search=spec.search.replaced(**search))
    deployer = FakeDeployer()
    new = loop.prepared(spec, engine=LlamaCpp(LlamaCppSettings()), deployer=deployer, script=by_slots)
    with pytest.raises(UsageError) as caught:
        await run_session(new, store, source="t")
    assert [p.where for p in caught.value.problems] == [where]
    assert deployer.deployed == []
    assert store.studies.get("second") is None
