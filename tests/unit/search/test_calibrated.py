"""Calibrated search: it learns from every level of every trial, whatever the metrics are."""

import math
from collections.abc import Callable, Mapping

import pytest

from autotuner.plugins.search import SearchContext, Stop
from autotuner.search.calibrated import CalibratedSearch, CalibratedSettings
from autotuner.search.model import scales
from autotuner.search.model.candidates import Candidates
from autotuner.search.model.proposing import Proposer
from autotuner.search.proposals import shuffled
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.parameters.space import Space
from autotuner.study.search.forecast import TPOT, TTFT, Forecast, LevelForecast
from autotuner.study.search.goals import Goals, Place
from autotuner.study.search.release import Release
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.study.workload import CapacityLoad, Concurrency, RequestRate
from autotuner.testing.search_kit import context_of, made, space_of

OSL = 100
LEVELS = (2, 8, 32)
THROUGHPUT = Objective(metric="output_throughput", direction=Direction.MAX)
BOUND = SLO(metric="tpot", statistic="mean", threshold=0.020)

Times = Callable[[Configuration, int], tuple[float, float]]
"""TTFT and TPOT in seconds, at a concurrency."""


def places() -> tuple[Place, ...]:
    return tuple(
        Place("D(50,100)", Concurrency(in_flight=n).text, n, in_flight=n, input_tokens=50, output_tokens=OSL)
        for n in LEVELS
    )


def goals(*objectives: Objective, slos: tuple[SLO, ...] = (BOUND,)) -> Goals:
    return Goals(objectives or (THROUGHPUT,), slos, places())


def machine() -> Space:
    """192 points: a few parameters matter, in different ways."""
    return space_of(
        tp=[1, 2, 4, 8],
        batch=[8, 32, 64, 256],
        kernel=["a", "b", "c", "d"],
        chunk=[512, 2048, 8192],
    )


def times(configuration: Configuration, concurrency: int) -> tuple[float, float]:
    tp, batch, kernel, chunk = (configuration.values[n] for n in ("tp", "batch", "kernel", "chunk"))
    assert isinstance(tp, int)
    assert isinstance(batch, int)
    assert isinstance(chunk, int)
    speed = {"a": 1.0, "b": 1.3, "c": 0.8, "d": 1.1}[str(kernel)] * tp**0.7
    waiting = max(0.0, concurrency / batch - 1)
    tpot = (0.008 + 0.002 * min(concurrency, batch)) / speed
    return 0.05 + waiting * OSL * tpot + 100 / chunk * 0.05, tpot


def mean_only(mean: float) -> Distribution:
    others = dict.fromkeys(("std", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"))
    return Distribution.model_validate({**others, "count": 200, "mean": mean, "p99": 2 * mean})


def windows(configuration: Configuration, model: Times) -> tuple[Measurement, ...]:
    found = []
    for place in places():
        in_flight = place.in_flight or 1
        ttft, tpot = model(configuration, in_flight)
        rate = in_flight * OSL / (ttft + tpot * (OSL - 1))
        found.append(
            Measurement(
                scenario=place.scenario,
                level=Concurrency(in_flight=in_flight),
                window_s=30.0,
                requests=200,
                failed=0,
                distributions={"ttft": mean_only(ttft), "tpot": mean_only(tpot)},
                scalars={"output_throughput": rate, "goodput": rate / OSL / 2},
            )
        )
    return tuple(found)


def value(configuration: Configuration, model: Times = times) -> float:
    """Geometric mean of the throughput; 0 if a level misses the bound."""
    found = windows(configuration, model)
    if any((m.value("tpot", "mean") or 0) > BOUND.threshold for m in found):
        return 0.0
    return math.prod(m.scalars["output_throughput"] for m in found) ** (1 / len(found))


def run_trial(number: int, configuration: Configuration, model: Times = times) -> Trial:
    found = windows(configuration, model)
    worst = max(m.value("tpot", "mean") or 0 for m in found)
    over = max(0.0, worst / BOUND.threshold - 1)
    rate = math.prod(m.scalars["output_throughput"] for m in found) ** (1 / len(found))
    verdict = Verdict(feasible=over == 0, objectives=(rate,), total_violation=over)
    trial = made(number, configuration, objectives=[rate], violation=over)
    return trial.replaced(verdict=verdict, measurements=found)


def calibrated(context: SearchContext) -> CalibratedSearch:
    return CalibratedSearch(CalibratedSettings(), context)


def launches(context: SearchContext, most: int = 40) -> int:
    """Launches until within 5% of the best."""
    goal = 0.95 * max(map(value, context.space.grid()))
    search = calibrated(context)
    trials: list[Trial] = []
    while len(trials) < most:
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        if value(asked) >= goal:
            return len(trials) + 1
        trials.append(run_trial(len(trials), asked))
        search.tell(trials[-1])
    return most


def test_finds_the_best_of_192_in_a_handful_of_launches() -> None:
    """The share of points within 5% of the best is such that a random search needs about 20 launches."""
    needed = [launches(context_of(machine(), seed=seed, goals=goals()), most=25) for seed in range(2)]
    assert sum(needed) <= 40, needed


def forecast_of(model: Times) -> Callable[[Configuration], Forecast]:
    def forecast(configuration: Configuration) -> Forecast:
        levels = []
        for place in places():
            ttft, tpot = model(configuration, place.in_flight or 1)
            levels.append(
                LevelForecast(place.scenario, place.level, {TTFT: math.log(2 * ttft), TPOT: math.log(1.3 * tpot)})
            )
        return Forecast(tuple(levels), source="made up", version="1")

    return forecast


def test_a_prediction_that_is_off_by_a_constant_needs_three_launches() -> None:
    context = context_of(machine(), goals=goals(), forecast=forecast_of(times))
    assert launches(context) <= 3


def test_the_error_of_one_release_is_not_taken_for_that_of_all_predictions() -> None:
    """The first launch is twice as slow as predicted. If predictions do not depend on the release, another one is
    expected to be nearer to its prediction than if they do."""
    images = ("sglang:v0.5.8", "sglang:v0.5.9")
    space = space_of(tp=[1, 2, 4, 8], batch=[8, 32], kernel=["a", "b"], chunk=[2048], image=list(images))
    first, other = (
        Configuration(values={"tp": 2, "batch": 32, "kernel": "a", "chunk": 2048, "image": image}) for image in images
    )

    def error(*, read: bool) -> float:
        """Expected logarithm of the other release's TPOT over its prediction."""

        def predicted(configuration: Configuration, concurrency: int) -> tuple[float, float]:
            ttft, tpot = times(configuration, concurrency)
            return ttft, tpot * (1.001 if read and configuration.values["image"] == images[1] else 1.0)

        def real(configuration: Configuration, concurrency: int) -> tuple[float, float]:
            ttft, tpot = times(configuration, concurrency)
            return 4 * ttft, 2.6 * tpot  # forecasts are 2 and 1.3 times as long

        forecast = forecast_of(predicted)
        context = context_of(space, goals=goals(), forecast=forecast)
        finished = [run_trial(0, first, real)]
        proposer = Proposer(context, shuffled(context), forecast)
        why = proposer.propose(finished, [], frozenset({first.key}), 1, only=(other,)).rationale
        levels = {(f.scenario, f.level): f.log_mean[TPOT] for f in forecast(other).levels}
        tpots = [e for e in why.expected if e.metric == "tpot"]
        return sum(math.log(e.median) - levels[e.scenario, e.level] for e in tpots) / len(tpots)

    assert 0.0 < error(read=False) < error(read=True) - 0.05


@pytest.mark.parametrize("predicted", [True, False])
def test_of_two_releases_the_newer_one_is_launched_first(*, predicted: bool) -> None:
    """Predictions do not know releases. The second image is the newer one, although its name sorts first."""
    images = ("sglang:v0.5.9", "sglang:v0.5.10")
    space = space_of(tp=[1, 2, 4, 8], batch=[8, 32], kernel=["a"], chunk=[2048], image=list(images))
    for seed in range(3):
        context = context_of(
            space,
            seed=seed,
            goals=goals(),
            release=lambda c: Release.named(str(c.values["image"])),
            **({"forecast": forecast_of(times)} if predicted else {}),
        )
        asked = calibrated(context).ask([])
        assert isinstance(asked, Configuration)
        assert asked.values["image"] == images[1]


def test_a_wrong_prediction_loses_its_weight() -> None:
    def wrong(configuration: Configuration, concurrency: int) -> tuple[float, float]:
        ttft, tpot = times(configuration, concurrency)
        key = Configuration(values={**configuration.values, "concurrency": concurrency}).key
        factor = math.exp(2 * (int(key[:4], 16) / 2**15 - 1))  # between 1/7 and 7, without a pattern
        return ttft / factor**3, tpot * factor

    def weight(model: Times) -> float:
        objective = Objective(metric="tpot", statistic="mean", direction=Direction.MIN)
        own = goals(objective, slos=())
        search = calibrated(context_of(machine(), goals=own, directions=(Direction.MIN,), forecast=forecast_of(model)))
        trials: list[Trial] = []
        for _ in range(6):
            asked = search.ask(trials)
            assert isinstance(asked, Configuration)
            why = search.explain(asked)
            assert why is not None
            assert why.source == "made up 1"
            trials.append(run_trial(len(trials), asked))
            search.tell(trials[-1])
        return why.prior_weight or 0.0

    assert weight(times) > 0.95
    found = weight(wrong)
    assert found / (1 - found) < scales.TRUST / (1 - scales.TRUST) / 5


def test_uneven_levels_of_one_server_leave_the_others_as_predictable() -> None:
    """The time per token steps up and down from level to level, and requests queue at the highest one, as servers do.
    That says nothing about other parameters."""
    steps = dict(zip(LEVELS, (1.0, 0.8, 1.2), strict=True))

    def uneven(configuration: Configuration, concurrency: int) -> tuple[float, float]:
        ttft, tpot = times(configuration, concurrency)
        return ttft * (20 if concurrency == max(LEVELS) else 1), tpot * steps[concurrency]

    search = calibrated(context_of(machine(), goals=goals(), forecast=forecast_of(times)))
    trials: list[Trial] = []
    for number in range(2):
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        trials.append(run_trial(number, asked, uneven))
        search.tell(trials[-1])
    asked = search.ask(trials)
    assert isinstance(asked, Configuration)
    why = search.explain(asked)
    assert why is not None
    assert all(e.high < 8 * e.low for e in why.expected if e.metric == "tpot")


def test_a_proposal_says_what_it_expects() -> None:
    search = calibrated(context_of(machine(), goals=goals()))
    trials: list[Trial] = []
    for _ in range(6):
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        trials.append(run_trial(len(trials), asked))
        search.tell(trials[-1])
    asked = search.ask(trials)
    assert isinstance(asked, Configuration)
    why = search.explain(asked)
    assert why is not None
    assert {(e.metric, e.level) for e in why.expected} == {
        (metric, f"concurrency={n}") for metric in ("output_throughput", "tpot") for n in LEVELS
    }
    assert all(e.low < e.median < e.high for e in why.expected)
    assert 0 <= why.improves <= why.feasible <= 1
    assert why.prior_weight is None
    assert search.explain(trials[0].configuration) is None


KINDS: Mapping[str, tuple[tuple[Objective, ...], tuple[SLO, ...]]] = {
    "tails": (
        (Objective(metric="ttft", statistic="p99", direction=Direction.MIN),),
        (SLO(metric="tpot", statistic="p99", threshold=0.03),),
    ),
    "unusual": (
        (Objective(metric="goodput", direction=Direction.MAX),),
        (SLO(metric="output_throughput", comparison=Comparison.GE, threshold=10, hard=False),),
    ),
    "per request": (
        (THROUGHPUT,),
        (SLO(metric="ttft", threshold=0.2), SLO(metric="ttft", statistic="mean", threshold=1, at="concurrency=8")),
    ),
    "two": ((THROUGHPUT, Objective(metric="tpot", statistic="mean", direction=Direction.MIN)), ()),
    "unmeasured": ((Objective(metric="energy_per_token", direction=Direction.MIN),), ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_objective_is_modeled(kind: str) -> None:
    objectives, slos = KINDS[kind]
    directions = tuple(o.direction for o in objectives)
    search = calibrated(context_of(machine(), goals=goals(*objectives, slos=slos), directions=directions))
    trials: list[Trial] = []
    for number in range(4):
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        own = windows(asked, times)
        values = [max(m.value(o.metric, o.statistic) or 1.0 for m in own) for o in objectives]
        trial = made(number, asked, objectives=values).replaced(measurements=own)
        trials.append(trial)
        search.tell(trial)
    assert len({t.configuration.key for t in trials}) == 4


def test_memory_that_runs_out_is_avoided() -> None:
    """Batches above 64 fail; of the last six launches, few do."""
    search = calibrated(context_of(machine(), goals=goals(slos=())))
    trials: list[Trial] = []
    for number in range(12):
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        batch = asked.values["batch"]
        assert isinstance(batch, int)
        trial = run_trial(number, asked)
        if batch > 64:
            failure = Failure(cause=FailureCause.GPU_OUT_OF_MEMORY_LOADING, message="does not fit")
            trial = trial.replaced(state=TrialState.FAILED, failure=failure, verdict=None, measurements=())
        trials.append(trial)
        search.tell(trial)
    assert sum(t.state is TrialState.FAILED for t in trials[6:]) <= 3


def test_a_refuted_load_is_an_upper_bound() -> None:
    """Configurations with a small batch hold less than the best one, which is all that is known of them."""
    capacity = Objective(metric="capacity", direction=Direction.MAX)
    level = CapacityLoad()
    place = Place("D(50,100)", level.text)
    search = calibrated(context_of(space_of(batch=[2**n for n in range(10)]), goals=Goals((capacity,), (), (place,))))
    trials: list[Trial] = []
    for number, batch in enumerate((64, 1, 2, 4, 8)):
        configuration = Configuration(values={"batch": batch})
        window = Measurement(scenario=place.scenario, level=level, window_s=30.0, requests=200, failed=0)
        if batch == 64:
            trial = made(number, configuration, objectives=[10.0])
            window = window.replaced(scalars={"capacity": 10.0})
        else:
            trial = made(number, configuration)
            trial = trial.replaced(
                verdict=Verdict(feasible=True, objectives=(None,), bounds=(10.0,), cut=True, rankable=False)
            )
            window = window.replaced(bounds={"capacity": 10.0}, cut=True, undecided="cut")
        trials.append(trial.replaced(measurements=(window,)))
        search.tell(trials[-1])
    asked = search.ask(trials)
    assert isinstance(asked, Configuration)
    assert asked.values["batch"] in {128, 256, 512}


def test_learns_from_a_default_whose_values_are_unknown() -> None:
    """It shows how fast the machine is, though not what the parameters do."""
    search = calibrated(context_of(machine(), goals=goals()))
    zero = run_trial(0, Configuration(values={"tp": 1, "batch": 64, "kernel": "a", "chunk": 2048}))
    zero = zero.replaced(configuration=Configuration(), role=TrialRole.DEFAULT)
    first = search.ask([zero.replaced(state=TrialState.RUNNING, verdict=None, measurements=())])
    assert isinstance(first, Configuration)
    assert search.explain(first) is None  # there is nothing to go by while the default runs
    search.tell(zero)
    second = search.ask([zero])
    assert isinstance(second, Configuration)
    assert search.explain(second) is not None


def test_a_large_space_is_searched_beyond_its_sample() -> None:
    """Of 10^12 points, the sample holds none near the best one."""
    names = [f"p{n}" for n in range(12)]  # 10 values each
    space = space_of(**{n: list(range(1, 11)) for n in names})

    def server(configuration: Configuration, concurrency: int) -> tuple[float, float]:
        distance = sum(abs(int(str(configuration.values[n])) - 7) for n in names)
        return 0.05, 0.005 * (1 + distance / 20)

    context = context_of(space, seed=2, goals=Goals((THROUGHPUT,), (), places()[:1]), trials=20)
    search = calibrated(context)
    sample = {c.key for c in Candidates(context, shuffled(context), frozenset()).listed}
    trials: list[Trial] = []
    for number in range(8):
        asked = search.ask(trials)
        assert isinstance(asked, Configuration)
        window = windows(asked, server)[0]
        trial = made(number, asked, objectives=[window.scalars["output_throughput"]])
        trials.append(trial.replaced(measurements=(window,)))
        search.tell(trials[-1])
    assert any(t.configuration.key not in sample for t in trials)


def test_open_loop() -> None:
    level = RequestRate(rate=4)
    place = Place("D(50,100)", level.text, 4)
    search = calibrated(context_of(machine(), goals=Goals((THROUGHPUT,), (BOUND,), (place,))))
    asked = search.ask([])
    assert not isinstance(asked, Stop)
    window = windows(asked, times)[0].replaced(level=level, overloaded=True)
    trial = run_trial(0, asked).replaced(measurements=(window,))
    search.tell(trial)
    assert isinstance(search.ask([trial]), Configuration)
