"""Benchmark of the calibrated search itself: CPU seconds of one proposal.

    OMP_NUM_THREADS=1 python benchmarks/ask_time.py [--trials 10 50 100 200] [--repeats 5] [--profile]

Ten parameters (six ordered ones with five values, four unordered ones with three), five levels per launch, an
objective, and SLOs on p99 TTFT and mean TPOT. Three arms: cold, with a prediction for every configuration, and with 600
levels of earlier studies. Some configurations do not start. Prints median and worst of the proposal after the last
trial, by a search that has made the one before it, and the worst of a search that makes its first one, as after a
resume.
"""

import argparse
import cProfile
import math
import pstats
import random
import statistics
import time
from collections.abc import Sequence

from autotuner.plugins.search import SearchContext
from autotuner.search.calibrated import CalibratedSearch, CalibratedSettings
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.search.evidence import EarlierStudy, EarlierTrial, EarlierWindow, Evidence, Facet
from autotuner.study.search.forecast import TPOT, TTFT, Forecast, LevelForecast
from autotuner.study.search.goals import Goals, Place
from autotuner.study.text.forms import parse_slo
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.study.workload import Concurrency

_LOADS = (4, 8, 16, 32, 64)
_INPUT = 1024
_OUTPUT = 256
_ORDERED = {f"n{i}": tuple(2**k for k in range(i, i + 5)) for i in range(6)}
_UNORDERED = {f"c{i}": ("a", "b", "c") for i in range(4)}
_SLOS = (parse_slo("p99 ttft <= 900ms"), parse_slo("mean tpot <= 40ms"))
_TTFT_S = 0.9
_TPOT_S = 0.04
_EARLIER_TRIALS = 60
"""Of each of two earlier studies, with five levels each."""
_LINES = 22
"""Functions that a profile shows."""
ARMS = ("cold", "predicted", "earlier")


def _places() -> tuple[Place, ...]:
    return tuple(
        Place("D(1024,256)", Concurrency(in_flight=n).text, n, in_flight=n, input_tokens=_INPUT, output_tokens=_OUTPUT)
        for n in _LOADS
    )


class Machine:
    """Effects of all parameters on TTFT and TPOT, and a few interactions."""

    def __init__(self, seed: int) -> None:
        source = random.Random(f"machine {seed}")
        self._slopes = {n: (source.gauss(0, 0.25), source.gauss(0, 0.15)) for n in _ORDERED}
        self._values = {
            (n, v): (source.gauss(0, 0.2), source.gauss(0, 0.15)) for n, values in _UNORDERED.items() for v in values
        }
        pairs = [source.sample([*_ORDERED], 2) for _ in range(6)]
        self._pairs = [(one, other, source.gauss(0, 0.1)) for one, other in pairs]

    def times(self, configuration: Configuration, load: float) -> tuple[float, float]:
        """TTFT and TPOT in seconds."""
        at = {n: _ORDERED[n].index(int(str(configuration.values[n]))) / 4 - 0.5 for n in _ORDERED}
        ttft, tpot = (
            sum(self._slopes[n][i] * x for n, x in at.items())
            + sum(self._values[n, str(configuration.values[n])][i] for n in _UNORDERED)
            + sum(size * at[a] * at[b] for a, b, size in self._pairs)
            for i in range(2)
        )
        return 0.2 * math.exp(ttft) * (load / 4) ** 0.5, 0.02 * math.exp(tpot) * (load / 4) ** 0.25


def _trial(number: int, configuration: Configuration, machine: Machine, source: random.Random) -> Trial:
    facts = {"study": "s", "number": number, "role": TrialRole.SEARCH, "configuration": configuration, "gpus": 4}
    if source.random() < 0.08:
        failure = Failure(cause=FailureCause.GPU_OUT_OF_MEMORY_LOADING, message="does not fit")
        return Trial.model_validate({**facts, "state": TrialState.FAILED, "failure": failure})
    launch = math.exp(source.gauss(0, 0.02))
    windows = tuple(
        _window(configuration, place, machine, launch * math.exp(source.gauss(0, 0.01))) for place in _places()
    )
    misses = [(m.distributions["ttft"].p99 or 0.0) / _TTFT_S for m in windows]
    misses += [(m.distributions["tpot"].mean or 0.0) / _TPOT_S for m in windows]
    over = max(*misses, 1.0) - 1
    rate = math.exp(statistics.fmean(math.log(m.scalars["output_throughput"]) for m in windows))
    verdict = Verdict(feasible=over == 0, objectives=(rate,), total_violation=over)
    return Trial.model_validate({**facts, "state": TrialState.DONE, "verdict": verdict, "measurements": windows})


def _window(configuration: Configuration, place: Place, machine: Machine, factor: float) -> Measurement:
    ttft, tpot = (t * factor for t in machine.times(configuration, place.load))
    rate = place.load * _OUTPUT / (ttft + tpot * (_OUTPUT - 1))
    return Measurement(
        scenario=place.scenario,
        level=Concurrency(in_flight=int(place.load)),
        window_s=60.0,
        requests=200,
        failed=0,
        distributions={"ttft": _distribution(ttft, 2.0), "tpot": _distribution(tpot, 1.2)},
        scalars={"output_throughput": rate},
    )


def _distribution(mean: float, tail: float) -> Distribution:
    unknown = dict.fromkeys(("std", "min", "p50", "p75", "p90", "p95", "p99_9", "max"))
    return Distribution.model_validate({"count": 200, "mean": mean, "p99": mean * tail, **unknown})


def _space() -> Space:
    values = {**_ORDERED, **_UNORDERED}
    return Space(parameters=tuple(Parameter(name=n, domain=Choices(values=tuple(v))) for n, v in values.items()))


def _forecast(configuration: Configuration) -> Forecast:
    other = Machine(2)
    levels = []
    for place in _places():
        ttft, tpot = other.times(configuration, place.load)
        levels.append(LevelForecast(place.scenario, place.level, {TTFT: math.log(ttft), TPOT: math.log(tpot)}))
    return Forecast(tuple(levels), source="benchmark", version="")


def _evidence() -> Evidence:
    source = random.Random("earlier")
    facets = {Facet.MODEL: "m", Facet.GPU: "g", Facet.ENGINE: "e", Facet.WORKLOAD: "w"}
    studies = []
    for number in range(2):
        machine = Machine(10 + number)
        trials = []
        for at in range(_EARLIER_TRIALS):
            configuration = _random(source)
            windows = []
            for place in _places():
                ttft, tpot = machine.times(configuration, place.load)
                rate = place.load * _OUTPUT / (ttft + tpot * (_OUTPUT - 1))
                values = {"mean ttft": ttft, "p99 ttft": 2 * ttft, "mean tpot": tpot, "output_throughput": rate}
                windows.append(EarlierWindow(place=place, values=values))
            trials.append(EarlierTrial(number=at, values=configuration.values, gpus=4, windows=tuple(windows)))
        shared = (Facet.ENGINE, Facet.GPU)
        studies.append(
            EarlierStudy(
                study=f"earlier {number}", facets=facets, shared=shared, slos=_SLOS, source="", trials=tuple(trials)
            )
        )
    return Evidence(studies=tuple(studies))


def _random(source: random.Random) -> Configuration:
    return Configuration(values={n: source.choice(v) for n, v in {**_ORDERED, **_UNORDERED}.items()})


def _context(arm: str, seed: int) -> SearchContext:
    objective = Objective(metric="output_throughput", direction=Direction.MAX)
    return SearchContext(
        space=_space(),
        directions=(Direction.MAX,),
        seed=seed,
        trials=400,
        goals=Goals(objectives=(objective,), slos=_SLOS, places=_places()),
        gpus=lambda _: 4,
        forecast=_forecast if arm == "predicted" else lambda _: None,
        evidence=_evidence() if arm == "earlier" else Evidence(),
    )


def _asked(arm: str, seed: int, history: Sequence[Trial], profile: cProfile.Profile | None) -> tuple[float, float]:
    """CPU seconds of the first proposal of a search, and of the one after the next trial."""
    search = CalibratedSearch(CalibratedSettings(), _context(arm, seed))
    for trial in history[:-1]:
        search.tell(trial)
    began = time.process_time()
    search.ask(history[:-1])
    first = time.process_time() - began
    search.tell(history[-1])
    if profile is not None:
        profile.enable()
    began = time.process_time()
    search.ask(history)
    spent = time.process_time() - began
    if profile is not None:
        profile.disable()
    return first, spent


def main() -> None:
    """Prints one line per arm and number of trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 50, 100, 200])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--arm", choices=ARMS, action="append")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    arguments = parser.parse_args()
    print(f"  {'CPU seconds of ask()':20} {'trials':>6} {'median':>7} {'worst':>7} {'first':>7}")
    for arm in arguments.arm or ARMS:
        for count in arguments.trials:
            profile = cProfile.Profile(time.process_time) if arguments.profile else None
            spent = [_asked(arm, repeat, _history(count, repeat), profile) for repeat in range(arguments.repeats)]
            others = [other for _, other in spent]
            first = max(first for first, _ in spent)
            print(f"  {arm:20} {count:6} {statistics.median(others):7.2f} {max(others):7.2f} {first:7.2f}", flush=True)
            if profile is not None:
                pstats.Stats(profile).sort_stats("tottime").print_stats(_LINES)


def _history(count: int, seed: int) -> list[Trial]:
    source = random.Random(f"history {count} {seed}")
    return [_trial(n, _random(source), Machine(1), source) for n in range(count)]


if __name__ == "__main__":
    main()
