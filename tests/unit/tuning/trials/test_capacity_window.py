"""What a capacity search contributes to its trial: the measurement that is scored, and where the next search begins."""

from math import log
from typing import Any

import pytest

from autotuner.benchmarks.capacity.steps import SearchSteps
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.report.views.outcome import undecided
from autotuner.scoring import score
from autotuner.scoring.slo import slo_value
from autotuner.store import Store
from autotuner.study.capacity.level_test import CapacityBound, LevelDecision, LevelPlan
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.configuration import Configuration
from autotuner.study.measurement import Distribution, Measurement, SelfCheck
from autotuner.study.objective import SLO, Objective
from autotuner.study.search.forecast import Channel, Forecast, LevelForecast
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.study.text.forms import parse_objective, parse_scenario, parse_slo
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.study.workload import CapacityLoad, LoadUnit, RequestRate, Workload
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.tuning.trials.capacity_start import above, capacity_start
from autotuner.tuning.trials.capacity_window import CapacityStart, at_capacity
from support.study_runs import run
from support.virtual_levels import VirtualBenchmark, VirtualSettings

LOAD = CapacityLoad()
SCENARIO = "D(128,64)"
BOUND = CapacityBound(slo="p99 ttft <= 500ms", metric="ttft", limit=0.5, allowed=0.01)


def spread(p99: float) -> Distribution:
    most = {"p75": p99, "p90": p99, "p95": p99, "p99": p99, "p99_9": p99, "max": p99}
    return Distribution(count=900, mean=p99 / 2, std=0, min=0, p50=p99 / 2, **most)


def level(load: float, state: str, **more: Any) -> CapacityLevel:
    measured = Measurement(
        scenario=SCENARIO,
        level=RequestRate(rate=load),
        window_s=10,
        requests=900,
        failed=0,
        arrived=1_000,
        distributions={"ttft": spread(0.3 if state == "certified" else 0.7)},
        scalars={"output_throughput": load * 64, "success_rate": 1.0},
        **more,
    )
    return CapacityLevel(
        load=load,
        plan=LevelPlan(bounds=(BOUND,), certify=0.02, refute=0.02, requests=5_000),
        decision=LevelDecision.model_validate(
            {"state": state, "requests": (900,), "log_evidence_below": 1.0, "log_evidence_above": 0.0}
        ),
        measurement=measured,
    )


def result(**facts: Any) -> CapacityResult:
    return CapacityResult(scenario=SCENARIO, unit=LoadUnit.RATE, precision=0.1, confidence=0.95, **facts)


BRACKET = result(certified=20.0, refuted=22.0, precise=True, levels=(level(20.0, "certified"), level(22.0, "refuted")))
CUT = result(refuted=20.0, cut=True, certified_missing="cut", levels=(level(20.0, "refuted"),))


def verdict_of(found: CapacityResult, *slos: str, objective: str = "max capacity", gpus: int = 0) -> Verdict:
    return score(
        [at_capacity(found, LOAD, gpus)],
        [parse_objective(objective)],
        [parse_slo(slo) for slo in slos],
        min_success_rate=0.99,
        expected=[(SCENARIO, LOAD)],
    )


def test_the_capacity_is_the_certified_load_and_its_uncertainty_half_of_the_bracket() -> None:
    verdict = verdict_of(BRACKET)
    assert (verdict.feasible, verdict.rankable, verdict.objectives) == (True, True, (20.0,))
    assert verdict.uncertainty == (pytest.approx(0.05),)


@pytest.mark.parametrize(
    ("objective", "value"),
    [("max capacity_tokens", 1_280.0), ("max capacity_per_gpu", 5.0), ("max capacity_tokens_per_gpu", 320.0)],
)
def test_tokens_and_shares_of_a_gpu_are_values_too(objective: str, value: float) -> None:
    assert verdict_of(BRACKET, objective=objective, gpus=4).objectives == (value,)


def test_the_capacity_of_a_trace_is_a_speed() -> None:
    speeds = BRACKET.replaced(unit=LoadUnit.SPEED, confidence=None)
    measured = at_capacity(speeds, CapacityLoad(unit=LoadUnit.SPEED), 4)
    assert [measured.value(name, None) for name in ("capacity_speed", "capacity_speed_per_gpu", "capacity")] == [
        20.0,
        5.0,
        None,
    ]
    cut = at_capacity(CUT.replaced(unit=LoadUnit.SPEED), CapacityLoad(unit=LoadUnit.SPEED), 0)
    assert cut.bounds == {"capacity_speed": 20.0}
    assert cut.undecided == "cannot hold 20x speed, and was not shown to hold more than the best configuration"


def test_a_search_that_was_cut_is_not_ranked_and_states_its_bound() -> None:
    verdict = verdict_of(CUT, "p99 ttft <= 500ms")
    assert (verdict.objectives, verdict.bounds, verdict.cut, verdict.rankable) == ((None,), (20.0,), True, False)
    assert verdict.violations == ()


def test_a_bound_below_an_slo_on_the_capacity_violates_it() -> None:
    assert [v.value for v in verdict_of(CUT, "capacity >= 25").violations] == [20.0]
    assert verdict_of(CUT, "capacity >= 15").violations == ()
    assert [v.value for v in verdict_of(BRACKET, "capacity >= 25").violations] == [20.0]


def test_a_search_without_a_certificate_is_undecided_not_bad() -> None:
    open_ = result(certified_missing="budget used", levels=(level(20.0, "open"),))
    verdict = verdict_of(open_, "p99 ttft <= 500ms")
    assert (verdict.feasible, verdict.rankable, verdict.cut, verdict.bounds) == (True, False, False, ())
    measured = at_capacity(open_, LOAD, 0)
    assert slo_value(parse_slo("success_rate >= 0.99"), [measured]) is None, "it is not 0% either"


def test_slos_that_a_search_left_open_are_neither_met_nor_missed() -> None:
    texts = ("p99 ttft <= 500ms", "success_rate >= 0.99", "capacity >= 15", "capacity >= 25")
    slos = [parse_slo(text) for text in texts]
    searched = trial(1, None).replaced(verdict=verdict_of(CUT, *texts))
    assert [undecided(searched, slo, slo_value(slo, searched.measurements)) for slo in slos] == [True] * 3 + [False]
    assert not undecided(trial(2, 20.0), slos[0], None)


def test_an_slo_that_is_not_met_at_the_lowest_load_makes_the_trial_infeasible() -> None:
    never = result(never_met=True, certified_missing="SLO not met", refuted=1.0, levels=(level(1.0, "refuted"),))
    assert not verdict_of(never, "p99 ttft <= 500ms").feasible


def test_a_limited_load_generator_is_reported_as_such() -> None:
    limited = level(20.0, "open", self_check=SelfCheck(client_limited=True, reasons=("loop lag",)))
    found = at_capacity(result(certified_missing="limited", levels=(level(5.0, "open"), limited)), LOAD, 0)
    assert found.self_check.client_limited


def spec(*objectives: str, slos: tuple[str, ...] = ("p99 ttft <= 500ms",), scenarios: int = 1) -> StudySpec:
    parsed: tuple[Objective, ...] = tuple(parse_objective(text) for text in objectives)
    limits: tuple[SLO, ...] = tuple(parse_slo(text) for text in slos)
    sent = tuple(parse_scenario(f"D({128 * (i + 1)},64)") for i in range(scenarios))
    return StudySpec(
        name="s",
        model=Model(path="m"),
        engine=EngineSpec(kind="vllm"),
        deploy=PluginSpec(kind="process"),
        workload=Workload(scenarios=sent, levels=(LOAD,)),
        objectives=parsed,
        slos=limits,
    )


def trial(number: int, capacity: float | None, *, role: TrialRole = TrialRole.SEARCH, gpus: int = 1) -> Trial:
    found = CUT if capacity is None else result(certified=capacity, levels=(level(capacity, "certified"),))
    measured = at_capacity(found, LOAD, gpus)
    asked = spec("max capacity")
    return Trial(
        study="s",
        number=number,
        role=role,
        configuration=Configuration(values={"n": number}),
        state=TrialState.DONE,
        measurements=(measured,),
        verdict=score([measured], asked.objectives, asked.slos, min_success_rate=0.99, expected=[(SCENARIO, LOAD)]),
        gpus=gpus,
    )


NEW = Trial(study="s", number=9, role=TrialRole.SEARCH, configuration=Configuration(values={"n": 9}))
DONE = [trial(0, 10.0, role=TrialRole.DEFAULT), trial(1, 20.0), trial(2, None)]


def test_a_new_configuration_must_hold_more_than_the_best_one_by_the_precision() -> None:
    start = capacity_start(spec("max capacity"), NEW, DONE, 1)
    assert (start.load, start.required) == (pytest.approx(22.0), True)


def test_a_capacity_per_gpu_is_required_of_all_gpus_of_the_trial() -> None:
    start = capacity_start(spec("max capacity_per_gpu"), NEW, DONE, 4)
    assert (start.load, start.required) == (pytest.approx(88.0), True)


@pytest.mark.parametrize(("found", "required"), [(3.0, 4.0), (25.0, 27.0)])
def test_numbers_in_flight_are_required_as_whole_numbers(found: float, required: float) -> None:
    load = CapacityLoad(unit=LoadUnit.CONCURRENCY)
    assert above(found, load) == required


def test_no_more_is_required_than_the_highest_load() -> None:
    assert above(20.0, CapacityLoad(high=21.0)) == 21.0


@pytest.mark.parametrize(
    ("asked", "role"),
    [
        (spec("max capacity", "min p99 ttft"), TrialRole.SEARCH),
        (spec("max capacity_tokens"), TrialRole.SEARCH),
        (spec("max capacity", scenarios=2), TrialRole.SEARCH),
        (spec("max capacity"), TrialRole.DEFAULT),
    ],
    ids=["two objectives", "tokens", "two scenarios", "default"],
)
def test_nothing_is_required_where_less_capacity_may_win(asked: StudySpec, role: TrialRole) -> None:
    found = capacity_start(asked, NEW.replaced(role=role), DONE, 1)
    assert found.load in (10.0, 20.0)
    assert not found.required


def forecast(*capacities: float) -> Forecast:
    """Predicted capacities, one per scenario."""
    channel = Channel("capacity")
    scenarios = spec("max capacity", scenarios=len(capacities)).workload.scenarios
    values = zip(scenarios, capacities, strict=True)
    return Forecast(tuple(LevelForecast(s.text, LOAD.text, {channel: log(value)}) for s, value in values), "p", "1")


def test_the_first_search_begins_at_the_least_predicted_capacity() -> None:
    two = spec("max capacity", scenarios=2)
    assert capacity_start(two, NEW, [], 1, forecast(30.0, 12.0)) == CapacityStart(pytest.approx(12.0))
    assert capacity_start(two, NEW, [], 1, forecast(30.0)) == CapacityStart()
    assert capacity_start(spec("max capacity"), NEW, DONE, 1, forecast(30.0)).load == pytest.approx(22.0)


def test_without_a_prediction_there_is_no_start_and_a_repeat_begins_where_its_trial_ended() -> None:
    assert capacity_start(spec("max capacity"), NEW, [], 1) == CapacityStart()
    again = NEW.replaced(role=TrialRole.CONFIRM, repeat_of=0)
    assert capacity_start(spec("max capacity"), again, DONE, 1) == CapacityStart(10.0)


@pytest.mark.anyio
async def test_a_level_is_stored_before_the_next_one_is_chosen(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = loop.spec(trials=1)
    asked = asked.replaced(
        workload=asked.workload.replaced(levels=(CapacityLoad(precision=0.5, max_requests=1_000),)),
        objectives=(parse_objective("max capacity"),),
        slos=(parse_slo("p90 ttft <= 1s"),),
    )
    benchmark = VirtualBenchmark(VirtualSettings())

    async def script(endpoint: Endpoint, window: Window) -> Measurement:
        return await benchmark.measure(endpoint, window) if window.test else scripted_measurement(window)

    stored: list[int] = []
    choose = SearchSteps.next_level

    def chosen(steps: SearchSteps, left_s: float) -> tuple[float, LevelPlan] | None:
        (running,) = store.trials.all(asked.name)
        stored.append(sum(len(found.levels) for found in running.capacities))
        return choose(steps, left_s)

    monkeypatch.setattr(SearchSteps, "next_level", chosen)
    await run(loop.prepared(asked, script=script), store)
    assert len(stored) > 2
    assert stored == list(range(len(stored)))
