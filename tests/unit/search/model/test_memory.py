"""Earlier studies in terms of the columns of a new one, and what a search makes of them."""

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from autotuner.plugins.search import SearchContext
from autotuner.search.calibrated import CalibratedSearch, CalibratedSettings
from autotuner.search.model import scales
from autotuner.search.model.encoding import Encoder
from autotuner.search.model.launching import Launching
from autotuner.search.model.memory import Memory
from autotuner.search.model.quantities import quantities
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.search.evidence import EarlierStudy, EarlierTrial, EarlierWindow, Evidence, Facet
from autotuner.study.search.goals import Goals, Place
from autotuner.study.trial import Trial
from autotuner.study.verdict import Verdict
from autotuner.study.workload import Concurrency
from autotuner.testing.search_kit import context_of, made, space_of

SPACE = space_of(batch=[8, 32, 128], kernel=["a", "b", "c"], chunk=[512, 2048])
GOALS = Goals(
    objectives=(Objective(metric="output_throughput", direction=Direction.MAX),),
    slos=(SLO(metric="tpot", statistic="mean", threshold=0.02),),
    places=tuple(
        Place("D(50,100)", Concurrency(in_flight=n).text, n, in_flight=n, input_tokens=50, output_tokens=100)
        for n in (4, 16)
    ),
)


def latencies(values: dict[str, Value], in_flight: int) -> tuple[float, float]:
    speed = {"a": 1.0, "b": 1.6, "c": 0.7}[str(values["kernel"])] * (2.0 if values["chunk"] == 2048 else 1.0)
    batch = values["batch"]
    assert isinstance(batch, int)
    speed *= math.exp(-((math.log(batch / 32)) ** 2) / 4)
    return 0.2 / speed, 0.012 * in_flight**0.2 / speed


def figures(values: dict[str, Value], place: Place) -> dict[str, float]:
    ttft, tpot = latencies(values, place.in_flight or 1)
    return {
        "mean ttft": ttft,
        "mean tpot": tpot,
        "output_throughput": (place.in_flight or 1) * 100 / (ttft + 99 * tpot),
    }


def earlier(*shared: Facet, order: Random | None = None, **more: Any) -> EarlierStudy:
    """A study that has measured the whole space, or the same values in another order."""
    results = [dict(c.values) for c in SPACE.grid()]
    if order is not None:
        order.shuffle(results)
    return with_results(results, *shared, **more)


def opposite() -> EarlierStudy:
    """A study in which the best values are the worst ones."""
    swapped = {"b": "c", "c": "b", "a": "a", 512: 2048, 2048: 512, 8: 8, 32: 32, 128: 128}
    return with_results([{n: swapped[v] for n, v in c.values.items()} for c in SPACE.grid()], *Facet)  # type: ignore[index]


def with_results(results: Sequence[dict[str, Value]], *shared: Facet, **more: Any) -> EarlierStudy:
    trials = []
    for number, (point, result) in enumerate(zip(SPACE.grid(), results, strict=True)):
        values = dict(point.values)
        windows = tuple(EarlierWindow(place=p, values=figures(result, p)) for p in GOALS.places)
        own = {**values, **more}
        same = Configuration(values=values) if not more and len(shared) == len(Facet) else None
        trials.append(EarlierTrial(number=number, values=own, configuration=same, windows=windows))
    facets = {f: "here" if f in shared else "there" for f in Facet}
    return EarlierStudy(study="old", facets=facets, shared=shared, slos=GOALS.slos, trials=tuple(trials))


def context(*studies: EarlierStudy) -> SearchContext:
    return context_of(SPACE, goals=GOALS, evidence=Evidence(studies=studies))


def run_trial(number: int, configuration: Configuration) -> Trial:
    found = [figures(dict(configuration.values), p) for p in GOALS.places]
    windows = tuple(
        Measurement(
            scenario=p.scenario,
            level=Concurrency(in_flight=p.in_flight or 1),
            window_s=30.0,
            requests=200,
            failed=0,
            distributions={"ttft": mean_only(f["mean ttft"]), "tpot": mean_only(f["mean tpot"])},
            scalars={"output_throughput": f["output_throughput"]},
        )
        for p, f in zip(GOALS.places, found, strict=True)
    )
    over = max(0.0, max(f["mean tpot"] for f in found) / 0.02 - 1)
    rate = math.sqrt(math.prod(f["output_throughput"] for f in found))
    trial = made(number, configuration, objectives=[rate], violation=over)
    verdict = Verdict(feasible=over == 0, objectives=(rate,), total_violation=over)
    return trial.replaced(verdict=verdict, measurements=windows)


def mean_only(mean: float) -> Distribution:
    others = dict.fromkeys(("std", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"))
    return Distribution.model_validate({**others, "count": 200, "mean": mean})


def launches(problem: SearchContext) -> int:
    """Launches until the best configuration."""
    best = Configuration(values={"batch": 32, "kernel": "b", "chunk": 2048})
    search = CalibratedSearch(CalibratedSettings(), problem)
    trials: list[Trial] = []
    while True:
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        if asked == best:
            return len(trials) + 1
        trials.append(run_trial(len(trials), asked))
        search.tell(trials[-1])


def test_the_best_of_the_same_study_is_launched_first() -> None:
    assert launches(context(earlier(*Facet))) == 1


def test_another_model_still_shortens_the_search() -> None:
    related = launches(context(earlier(Facet.ENGINE)))
    assert related <= launches(context())
    assert related <= 3


def test_mixed_up_results_cost_about_one_launch() -> None:
    needed = [launches(context(earlier(*Facet, order=Random(seed)))) for seed in (1, 2)]
    assert sum(needed) / 2 <= launches(context()) + 1.5


def test_a_study_of_something_else_loses_its_weight() -> None:
    """What was best there is worst here, without any noise."""
    problem = context(opposite())
    search = CalibratedSearch(CalibratedSettings(), problem)
    trials: list[Trial] = []
    weights = []
    for number, configuration in enumerate(list(SPACE.grid())[:4]):
        trials.append(run_trial(number, configuration))
        search.tell(trials[-1])
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        why = search.explain(asked)
        assert why is not None
        weights.append(why.memory_weight or 0.0)
    assert weights[-1] < 0.1
    assert launches(problem) <= launches(context()) + 2


def test_no_proposal_names_a_weight_without_earlier_studies() -> None:
    problem = context()
    search = CalibratedSearch(CalibratedSettings(), problem)
    asked = search.ask(())
    assert isinstance(asked, Configuration)
    why = search.explain(asked)
    assert why is None or why.memory_weight is None


def test_a_server_that_failed_before_is_hardly_expected_to_start() -> None:
    study = earlier(*Facet)
    best = Configuration(values={"batch": 32, "kernel": "b", "chunk": 2048})
    cause = FailureCause.GPU_OUT_OF_MEMORY_LOADING
    trials = [t.replaced(windows=(), failed=cause) if t.configuration == best else t for t in study.trials]
    problem = context(study.replaced(trials=tuple(trials)))
    encoder = Encoder(problem, list(SPACE.grid()))
    units = encoder.units(list(SPACE.grid()))
    chances = dict(zip(units.configurations, Launching(problem, encoder, []).starts(units), strict=True))
    assert min(chances, key=chances.__getitem__) == best
    assert chances[best] < 0.7
    again = Launching(problem, encoder, [run_trial(0, best)])
    assert again.starts(encoder.units([best]))[0] > 0.9, "what this study has seen itself counts"


def memory(*studies: EarlierStudy) -> Memory:
    problem = context(*studies)
    return Memory(problem, Encoder(problem, list(SPACE.grid())))


def test_what_no_column_says_about_a_launch_is_kept_apart() -> None:
    found = memory(earlier(Facet.ENGINE, kernel="d"))
    assert set(found._units.others) == {("kernel=d",)}
    assert memory(earlier(Facet.ENGINE))._units.others[0] == ()
    assert found.servers == []
    assert len(memory(earlier(*Facet)).servers) == 18


def test_the_center_comes_from_a_study_that_differs_in_its_goals_only() -> None:
    tpot = next(q for q in quantities(GOALS) if q.key.metric == "tpot")
    assert memory(earlier(Facet.MODEL)).center(tpot) is None
    center = memory(earlier(*Facet)).center(tpot)
    assert center is not None
    assert abs(center - math.log(0.015)) < 0.7


def test_a_quantity_that_was_not_measured_says_nothing() -> None:
    study = earlier(*Facet)
    empty = study.replaced(
        trials=tuple(
            t.replaced(windows=tuple(w.replaced(values={"mean ttft": 0.1}) for w in t.windows)) for t in study.trials
        )
    )
    tpot = next(q for q in quantities(GOALS) if q.key.metric == "tpot")
    assert memory(empty).recalled(tpot, "structured", scales.STRUCTURED, ()) == ()
    assert len(memory(study).recalled(tpot, "structured", scales.STRUCTURED, ())) == len(scales.AMPLITUDES)
