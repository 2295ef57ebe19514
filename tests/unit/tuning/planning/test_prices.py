"""Prices of a study: what each trial costs, goals without a price, and other prices on resume."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from syrupy.assertion import SnapshotAssertion

from autotuner.engines.llama_cpp.engine import LlamaCpp
from autotuner.errors import UsageError
from autotuner.store import Store
from autotuner.study.base import Value
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.spec import EngineSpec, StudySpec
from autotuner.study.text.forms import parse_objective
from autotuner.study.trial import Trial, TrialState
from autotuner.study_file.loader import parse_study
from autotuner.study_file.machine_settings import parse_site, with_site
from autotuner.study_file.writer import render_study
from autotuner.tuning.planning.plan import make_plan
from autotuner.tuning.planning.planned_cost import planned_usd
from autotuner.tuning.planning.prepared_study import prepare
from autotuner.tuning.planning.resume_decision import judged_again
from autotuner.tuning.planning.unmeasurable_goals import check_metrics, unmatched_prices, unpriced

pytestmark = pytest.mark.anyio

COST = parse_objective("min cost_per_million_output_tokens")
FILE: dict[str, Any] = {
    "name": "s",
    "model": "Qwen/Qwen3-8B",
    "engine": {"kind": "simulated", "gpu": "H100", "gpu_count": 8},
    "parameters": {"tp-size": [1, 2, 4]},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": ["min cost_per_million_output_tokens"],
    "slo": "cost_per_request <= 0.01",
}


def read(**changes: Any) -> StudySpec:
    return parse_study({**FILE, **changes}, source="s.yaml", folder=Path("/")).spec


async def test_every_configuration_costs_its_own_gpus() -> None:
    prepared = await prepare(read(prices={"H100": 2.5, "*": 1.0}), planning=True)
    costs = [prepared.usd_per_hour(Configuration(values={"tp-size": n})) for n in (1, 2, 4)]
    assert costs == [2.5, 5.0, 10.0]
    assert prepared.usd_per_hour(DEFAULT) == 2.5


REAL: dict[str, Any] = {
    "engine": "llama_cpp",
    "parameters": {"threads": [1, 2]},
    "slo": [],
    "objective": "min mean ttft",
}


async def test_a_plan_costs_what_its_time_costs() -> None:
    plan = await make_plan(await prepare(read(**REAL, prices={"host": 3.6}), planning=True), preflight=False)
    assert plan.estimated_usd == pytest.approx(plan.estimated_s / 1000)


@pytest.mark.parametrize(("gpus", "servers"), [(0, 1), (1, 2)])
async def test_trials_side_by_side_pay_for_their_own_gpus_but_share_a_host(gpus: int, servers: int) -> None:
    spec = read(**REAL, prices={"host": 3600.0, "*": 3600.0}, search={"parallel": 2})
    prepared = await prepare(spec, planning=True)
    priced = replace(prepared, engine=_Priced(prepared.engine.settings, gpus))
    assert planned_usd(priced, search_s=10.0, proof_s=5.0) == pytest.approx(10.0 * servers + 5.0)


class _Priced(LlamaCpp):
    def __init__(self, settings: BaseModel, gpus: int) -> None:
        super().__init__(settings)
        self._gpus = gpus

    def gpus(self, values: Mapping[str, Value]) -> int:
        return self._gpus


@pytest.mark.parametrize("changes", [{"prices": {"H100": 2.5}}, {**REAL}])
async def test_a_plan_without_price_or_of_a_simulation_costs_nothing(changes: dict[str, Any]) -> None:
    plan = await make_plan(await prepare(read(**changes), planning=True), preflight=False)
    assert plan.estimated_usd is None


@pytest.mark.parametrize("prices", [{}, {"H200": 3.0}, {"host": 0.4}])
async def test_a_goal_without_its_price_is_refused(prices: dict[str, float]) -> None:
    with pytest.raises(UsageError) as caught:
        await prepare(read(prices=prices), planning=True)
    assert [p.where for p in caught.value.problems] == ["objective", "slo"]
    assert all("NVIDIA H100" in p.why and "{H100: ...}" in p.remedy for p in caught.value.problems)


@pytest.mark.parametrize(("prices", "refused"), [({"H100": 2.5}, False), ({}, True), ({"host": 0.4}, True)])
async def test_a_plan_without_the_gpus_needs_some_price(prices: dict[str, float], refused: bool) -> None:
    spec = read(engine="vllm", parameters={"max-num-seqs": [16, 32]}, prices=prices)
    if not refused:
        assert (await prepare(spec, planning=True)).missing_gpus is not None
        return
    with pytest.raises(UsageError) as caught:
        await prepare(spec, planning=True)
    assert {p.where for p in caught.value.problems} >= {"objective", "slo"}


@pytest.mark.parametrize(
    ("prices", "missing"), [({"host": 0.4}, "the target's GPUs"), ({"*": 2.5}, "the host"), ({"host": 0.4, "*": 1}, "")]
)
async def test_prices_must_cover_configurations_with_and_without_gpus(
    loop: Any, prices: dict[str, float], missing: str
) -> None:
    tp = 1 if "host" not in prices else 0
    values = Parameter(name="tp", domain=Choices(values=(0, 1)))
    engine = EngineSpec(kind="fake", args={"tp": tp})
    spec = spec_of(loop, prices=prices, parameters=(values,), engine=engine)
    prepared = loop.prepared(spec, gpus=1)
    if not missing:
        check_metrics(prepared)
        return
    with pytest.raises(UsageError) as caught:
        check_metrics(prepared)
    [problem] = caught.value.problems
    assert problem.where == "objective"
    assert missing in problem.why
    only = replace(prepared, space=Space(parameters=spec.parameters, constraints=(Constraint.parse(f"tp == {tp}"),)))
    check_metrics(only)


@pytest.mark.parametrize(
    ("gpu_name", "gpus"), [("NVIDIA H200", 1), ("NVIDIA GeForce RTX 4090", 2), ("", 2), ("NVIDIA H100", 0)]
)
def test_missing_prices_are_named(gpu_name: str, gpus: int, snapshot: SnapshotAssertion) -> None:
    [objective, _] = unpriced(read(), gpu_name, gpus)
    assert str(objective) == snapshot
    key = objective.remedy.partition("{")[2].partition(":")[0].strip('"')
    assert unpriced(read(prices={key: 1.0}), gpu_name, gpus) == [], "the remedy is enough"


def test_prices_survive_the_file_and_do_not_pin_results() -> None:
    spec = read(prices={"H100": 2.5, "*": 1})
    assert parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec == spec
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.digest == read().digest
    assert spec.first_digest == read().first_digest


@pytest.mark.parametrize("prices", [{"H100": 0}, {"H100": "2 USD"}, {"H100": -1.5}, {"": 1}, {"H100": True}, 2.5])
def test_wrong_prices(prices: Any, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as caught:
        read(prices=prices)
    [problem] = caught.value.problems
    assert str(problem) == snapshot
    if isinstance(prices, dict):
        with pytest.raises(UsageError) as caught:
            parse_site(f"prices: {prices}".replace("True", "true"), "site.yaml")
        [again] = caught.value.problems
        assert again.why == problem.why


@pytest.mark.parametrize("other", ["h100", "-H100"])
def test_two_keys_for_the_same_gpus_are_refused(other: str) -> None:
    prices = {"H100": 2.5, "*": 1.0, other: 3.0}
    with pytest.raises(UsageError) as caught:
        read(prices=prices)
    [problem] = caught.value.problems
    assert problem.where.endswith("prices")
    assert problem.why == f"H100 and {other} name the same GPUs"
    with pytest.raises(UsageError) as caught:
        parse_site(f"prices: {prices}", "site.yaml")
    assert [p.why for p in caught.value.problems] == [problem.why]
    assert read(prices={"H100": 2.5, "H100 PCIe": 2.0, "host": 0.1, "*": 1.0}).prices


def test_a_price_of_the_machine_written_otherwise_gives_way_to_the_studys() -> None:
    site = parse_site("prices: {h100: 3.5, host: 0.2}", "site.yaml")
    assert with_site(read(prices={"H100": 2.5}), site, "site.yaml")[0].prices == {"H100": 2.5, "host": 0.2}


def test_the_study_overrides_prices_of_the_machine() -> None:
    site = parse_site("prices: {H100: 3.5, host: 0.2}", "site.yaml")
    found, notes = with_site(read(prices={"H100": 2.5}), site, "site.yaml")
    assert found.prices == {"H100": 2.5, "host": 0.2}
    assert notes == ["prices: host from site.yaml"]
    assert with_site(read(), site, "site.yaml")[0].prices == {"H100": 3.5, "host": 0.2}


def spec_of(loop: Any, **changes: Any) -> StudySpec:
    tp = Parameter(name="tp", domain=Choices(values=(1, 2)))
    made: StudySpec = loop.spec().model_copy(update={"parameters": (tp,), "objectives": (COST,), **changes})
    return made


async def test_trials_on_several_gpus_cost_all_of_them(loop: Any) -> None:
    prepared = loop.prepared(spec_of(loop, prices={"H100": 2.5, "host": 0.1}), gpus=4)
    prepared = replace(prepared, hardware=prepared.hardware.replaced(gpu_name="NVIDIA H100 80GB HBM3"))
    for number, (gpus, hourly) in enumerate([(0, 0.1), (1, 2.5), (2, 5.0)]):
        trial = await loop.trial(prepared, Configuration(values={"tp": gpus}), number=number)
        assert (trial.gpus, trial.usd_per_hour) == (gpus, hourly)
        [window] = trial.measurements
        rate = window.value("output_throughput", None)
        assert rate
        assert trial.verdict is not None
        assert trial.verdict.objectives == (pytest.approx(hourly / 3600 / rate * 1e6),)


async def test_other_prices_judge_stored_trials_again(loop: Any, store: Store) -> None:
    before = loop.prepared(spec_of(loop, prices={"host": 0.4}))
    trial = await loop.trial(before, Configuration(values={"tp": 0}))
    store.studies.create(before.spec, source="t", digest=before.spec.digest, now=1.0)
    record = store.studies.get("s")
    assert record is not None
    after = loop.prepared(
        spec_of(loop, prices={"host": 0.8}, parameters=(Parameter(name="tp", domain=Choices(values=(0, 1))),))
    )
    [changed] = judged_again(after, record, [trial])
    assert changed.usd_per_hour == 0.8
    assert trial.verdict is not None
    assert changed.verdict is not None
    assert changed.verdict.objectives == (pytest.approx(2 * (trial.verdict.objectives[0] or 0)),)


async def test_a_trial_that_cannot_fit_has_its_price(loop: Any) -> None:
    prepared = await prepare(read(model="Llama-3.1-70B", prices={"H100": 2.5}), planning=True)
    trial = await loop.trial(prepared, Configuration(values={"tp-size": 1}))
    assert (trial.state, trial.phases.keys(), trial.usd_per_hour) == (TrialState.FAILED, {"queued"}, 2.5)


async def test_void_trials_and_those_set_aside_get_prices_too(loop: Any, store: Store) -> None:
    """The study paid for them: one cut off, one that was removed before, and one whose parameter has been removed."""
    before = loop.prepared(spec_of(loop, objectives=loop.spec().objectives))
    store.studies.create(before.spec, source="t", digest=before.spec.digest, now=1.0)
    record = store.studies.get("s")
    assert record is not None
    ran = await loop.trial(before, Configuration(values={"tp": 0}))
    assert ran.usd_per_hour is None
    void = ran.replaced(number=1, state=TrialState.VOID, verdict=None, measurements=())
    aside = ran.replaced(number=2, state=TrialState.VOID, set_aside="removed")
    other = ran.replaced(number=3, configuration=Configuration(values={"gone": 0}))
    waiting = Trial(study="s", number=4, role=ran.role, configuration=ran.configuration)
    after = loop.prepared(before.spec.replaced(prices={"host": 0.8}))
    changed = judged_again(after, record, [void, aside, other, waiting])
    assert [(t.number, t.state, bool(t.set_aside), t.usd_per_hour) for t in changed] == [
        (1, TrialState.VOID, False, 0.8),
        (2, TrialState.VOID, True, 0.8),
        (3, TrialState.VOID, True, 0.8),
    ]
    assert judged_again(before, record, [void]) == []


async def test_an_edited_combination_costs_what_was_launched(loop: Any, store: Store) -> None:
    def profile(gpus: int) -> tuple[Parameter, ...]:
        combinations = {"one": {"tp": 1}, "more": {"tp": gpus}}
        return (Parameter(name="profile", domain=Choices(values=tuple(combinations)), combinations=combinations),)

    before = loop.prepared(spec_of(loop, prices={"*": 1.0}, parameters=profile(2)), gpus=4)
    store.studies.create(before.spec, source="t", digest=before.spec.digest, now=1.0)
    record = store.studies.get("s")
    assert record is not None
    ran = await loop.trial(before, Configuration(values={"profile": "more"}))
    ran = ran.replaced(flags={"tp": 2})
    after = loop.prepared(spec_of(loop, prices={"*": 3.0}, parameters=profile(4)), gpus=4)
    [changed] = judged_again(after, record, [ran])
    assert changed.set_aside
    assert (ran.usd_per_hour, changed.usd_per_hour) == (2.0, 6.0)


@pytest.mark.parametrize(
    ("prices", "unmatched"),
    [
        ({"H100": 2.5, "*": 1.0, "host": 1.0}, []),
        ({"H100": 2.5, "H1000": 2.5}, ["H1000 matches no GPU of the study; it has NVIDIA H100"]),
        ({"h100": 2.5, "site": 1.0}, []),
    ],
)
async def test_a_price_that_no_gpu_has_gets_a_warning(prices: dict[str, float], unmatched: list[str]) -> None:
    prepared = await prepare(read(prices=prices), planning=True)
    assert [c.detail for c in unmatched_prices(prepared, ["site"])] == unmatched
    for preflight in (True, False):
        plan = await make_plan(prepared, preflight=preflight, site_prices=["site"])
        assert [c.detail for c in plan.checks if c.name == "prices"] == unmatched


async def test_prices_of_gpus_for_a_server_without_any_get_a_warning() -> None:
    prepared = await prepare(read(**REAL, prices={"H100": 2.5, "host": 1.0}), planning=True)
    without = replace(prepared, hardware=prepared.hardware.model_copy(update={"gpus": 0}))
    (check,) = unmatched_prices(without, [])
    assert check.detail == "H100 matches no GPU of the study, which uses none"


async def test_prices_are_not_compared_with_unknown_gpus() -> None:
    prepared = await prepare(read(prices={"H100": 2.5, "H1000": 2.5}), planning=True)
    assert unmatched_prices(replace(prepared, hardware_assumed=True), []) == []
