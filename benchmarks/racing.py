"""Benchmark of racing: what it saves, and whether it changes the answer. Simulated SGLang servers, in virtual time.

    python benchmarks/racing.py [--seeds 20] [--trials 16] [--strategy random]

The space has 36 configurations of SGLang for Qwen3-8B on an RTX-4090. A launch has its own speed (2% standard
deviation) and is cold at first: its steps take up to twice as long for some seconds. Windows of 15 s at three numbers
of requests in flight are simulated by the scheduler of the repository, and so is the short window at the highest load.
The rules that end a trial are those of a run.

Each study is searched with ``racing`` off, ``levels`` and ``auto``, with equal seeds. The table has the seconds of
windows (warm-up included, starts are extra) relative to ``off``, the share of trials that were cut, how often the best
trial or the set of the best three (which the proof launches) is another one than with ``off``, and how far the true
objective of the best trial lies below that of the best configuration (from long runs; 0 is perfect). With ``random``,
all three search the same configurations, so that every difference is a wrong cut.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random

from autotuner import scoring
from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.search.bayesian import BayesianSearch
from autotuner.search.calibrated import CalibratedSearch
from autotuner.search.random import RandomSearch
from autotuner.simulator.request import Request, token_ids
from autotuner.simulator.scheduler import Scheduler
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.search.goals import Goals
from autotuner.study.spec import EngineSpec, Model, PluginSpec, SearchSpec, StudySpec
from autotuner.study.text.forms import parse_objective, parse_scenario, parse_slo
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency, Workload
from autotuner.tuning.looks import look_workload
from autotuner.tuning.trials.racing import Race
from autotuner.tuning.verdicts import verdict_on
from simulated_sglang import SimulatedSGLang

SCENARIO = parse_scenario("N(300,60)/(32,8)")
LEVELS = tuple(Concurrency(in_flight=n) for n in (4, 16, 48))
WARMUP_S = 2.0
DURATION_S = 15.0
WORKLOAD = Workload(scenarios=(SCENARIO,), levels=LEVELS, warmup_s=WARMUP_S, duration_s=DURATION_S)
PARAMETERS = {
    "max-running-requests": (4, 8, 16, 32, 64, 128),
    "chunked-prefill-size": (256, 1024, 4096),
    "cuda-graph-max-bs-decode": (8, 64),
}
LAUNCH_NOISE = 0.02
COLD_S = 3.0
"""Seconds within which a cold server has lost most of its slowness."""
STRATEGIES: dict[str, type[Search]] = {
    "random": RandomSearch,
    "bayesian": BayesianSearch,
    "calibrated": CalibratedSearch,
}
GOALS = {
    "throughput": (("max output_throughput",), ()),
    "throughput, SLO": (("max output_throughput",), ("p90 ttft <= 2500ms",)),
    "latency": (("min p90 e2e_latency",), ()),
    "throughput at one level": (("max output_throughput at concurrency=16",), ("mean ttft <= 1200ms",)),
}


@dataclass(frozen=True)
class Served:
    """One request; times in seconds since the launch."""

    sent: float
    first: float
    ended: float
    tokens: int


def served(
    scheduler: Scheduler, in_flight: int, until: float, random: Random, slow: float = 1.0, cold: float = 0.0
) -> list[Served]:
    """The requests that a closed loop completes.

    Args:
        scheduler: A server without requests.
        in_flight: Requests in flight.
        until: When the loop ends.
        random: Source of lengths and of the noise of steps.
        slow: Factor of all steps.
        cold: By what factor the first steps take longer, on top of that; it decays within seconds.
    """
    now = 0.0
    tokens: dict[Request, int] = {}
    first: dict[Request, float] = {}
    done: list[Served] = []

    def send() -> None:
        prompt = max(1, round(random.gauss(300, 60)))
        answer = max(1, round(random.gauss(32, 8)))
        words = token_ids([f"{random.getrandbits(40)}"]) + token_ids(["word"]) * (prompt - 1)
        request = Request(words, answer, ignore_eos=True, arrived_s=now)
        tokens[request] = answer
        scheduler.add(request)

    for _ in range(in_flight):
        send()
    while now < until and (step := scheduler.next_step()) is not None:
        now += step.seconds * slow * (1 + cold * math.exp(-now / COLD_S)) * max(0.2, random.gauss(1.0, 0.05))
        for request in scheduler.finish_step(step):
            first.setdefault(request, now)
            if request.left <= 0:
                done.append(Served(request.arrived_s, first.pop(request), now, tokens.pop(request)))
                send()
    return done


def measured(requests: Sequence[Served], level: Concurrency, length: float) -> Measurement:
    """A window after the warm-up; requests count if they ended in it."""
    own = [r for r in requests if WARMUP_S <= r.ended < WARMUP_S + length]
    values = {"ttft": [r.first - r.sent for r in own], "e2e_latency": [r.ended - r.sent for r in own]}
    return Measurement(
        scenario=SCENARIO.text,
        level=level,
        window_s=length,
        requests=len(own),
        failed=0,
        distributions={name: distribution(found) for name, found in values.items() if found},
        scalars={"output_throughput": sum(r.tokens for r in own) / length},
    )


def distribution(values: Sequence[float]) -> Distribution:
    """Statistics by the nearest rank."""
    ordered = sorted(values)
    shares = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}
    ranks = {name: ordered[min(len(ordered) - 1, math.ceil(s * len(ordered)) - 1)] for name, s in shares.items()}
    ends = {"min": ordered[0], "max": ordered[-1]}
    return Distribution(count=len(ordered), mean=statistics.fmean(ordered), std=0.0, **ends, **ranks)


def flags(configuration: Configuration) -> dict[str, str]:
    """The command line of a configuration; the default has values in the middle."""
    values = configuration.values or {name: values[1] for name, values in PARAMETERS.items()}
    return {"--context-length": "4096", **{f"--{name}": str(value) for name, value in values.items()}}


@dataclass(frozen=True)
class Launch:
    """All windows that a launch could be measured with."""

    look: Measurement
    windows: tuple[Measurement, ...]


@cache
def launch(configuration: Configuration, seed: int, length: float = DURATION_S) -> Launch:
    """Simulates one launch."""
    random = Random(f"{seed} {configuration.key}")
    server = SimulatedSGLang("RTX-4090", "Qwen/Qwen3-8B", flags(configuration), (300, 60), (32, 8), 0.0)
    slow = math.exp(random.gauss(0.0, LAUNCH_NOISE))
    cold = random.random()
    short = look_workload(WORKLOAD).duration_s
    highest = LEVELS[-1]
    first = served(server.scheduler(), highest.in_flight, WARMUP_S + short, random, slow, cold)
    windows = []
    for level in LEVELS:
        requests = served(server.scheduler(), level.in_flight, WARMUP_S + length, random, slow)
        windows.append(measured(requests, level, length))
    return Launch(measured(first, highest, short), tuple(windows))


def study_of(goals: str, racing: str, trials: int) -> StudySpec:
    """The study that is searched."""
    objectives, slos = GOALS[goals]
    return StudySpec(
        name="racing",
        model=Model(path="Qwen/Qwen3-8B"),
        engine=EngineSpec(kind="simulated"),
        deploy=PluginSpec(kind="process"),
        parameters=tuple(Parameter(name=name, domain=Choices(values=values)) for name, values in PARAMETERS.items()),
        workload=WORKLOAD,
        objectives=tuple(map(parse_objective, objectives)),
        slos=tuple(map(parse_slo, slos)),
        search=SearchSpec.model_validate({"kind": "random", "trials": trials, "racing": racing}),
    )


@dataclass(frozen=True)
class Outcome:
    """What one search found and took."""

    best: tuple[str, ...]
    """Configurations of the best three trials of the search."""
    seconds: float
    """Duration of all windows, with warm-up."""
    cut: int
    looked: int
    trials: int


def run(trial: Trial, spec: StudySpec, trials: Sequence[Trial], seed: int) -> tuple[Trial, float]:
    """The finished trial, as :class:`autotuner.tuning.trials.windows.Windows` measures it, and the seconds it took."""
    found = launch(trial.configuration, seed)
    race = Race(spec, trial, lambda: trials, short_windows=True)
    looks = (found.look,) if race.looks else ()
    seconds = sum(WARMUP_S + look.window_s for look in looks)
    ended = race.after_looks(looks)
    if ended is not None:
        return trial.replaced(state=TrialState.DONE, looks=looks, cut=ended[0], verdict=ended[1]), seconds
    windows: list[Measurement] = []
    cut = None
    for level in race.order(SCENARIO, looks):
        window = next(w for w in found.windows if w.level == level)
        windows.append(window)
        seconds += WARMUP_S + window.window_s
        cut = race.after_level(windows)
        if cut is not None:
            break
    verdict = verdict_on(spec, windows, cut)
    facts = {"state": TrialState.DONE, "looks": looks, "measurements": tuple(windows), "cut": cut, "verdict": verdict}
    return trial.replaced(**facts), seconds


def searched(strategy: type[Search], spec: StudySpec, seed: int) -> Outcome:
    """Runs one search."""
    space = Space(parameters=spec.parameters)
    context = SearchContext(
        space=space,
        directions=tuple(o.direction for o in spec.objectives),
        seed=seed,
        trials=spec.search.trials,
        goals=Goals.of(spec.objectives, spec.slos, spec.workload),
    )
    search = strategy(strategy.Settings(), context)
    trials: list[Trial] = []
    total = 0.0
    while len(trials) < spec.search.trials:
        proposal = search.ask(trials) if trials else DEFAULT
        if isinstance(proposal, Stop):
            break
        role = TrialRole.SEARCH if trials else TrialRole.DEFAULT
        made = Trial(study=spec.name, number=len(trials), role=role, configuration=proposal)
        trial, seconds = run(made, spec, trials, seed)
        total += seconds
        trials.append(trial)
        search.tell(trial)
    challengers = [t for t in trials if t.number and t.verdict and t.verdict.feasible and t.verdict.rankable]
    best = tuple(t.configuration.key for t in scoring.rank(challengers, spec.objectives)[:3])
    by_look = sum(t.cut is not None and t.cut.confidence is not None for t in trials)
    return Outcome(best, total, sum(t.cut is not None for t in trials), by_look, len(trials) - 1)


@cache
def true_values(goals: str) -> dict[str, float]:
    """Log objective of every feasible configuration from long runs without noise of launches, larger is better."""
    spec = study_of(goals, "off", 1)
    found = {}
    for values in product(*PARAMETERS.values()):
        configuration = Configuration(values=dict(zip(PARAMETERS, values, strict=True)))
        verdict = verdict_on(spec, long_run(configuration))
        cost = scoring.log_cost(verdict, spec.objectives)
        if verdict.feasible and cost is not None:
            found[configuration.key] = -cost
    return found


@cache
def long_run(configuration: Configuration) -> tuple[Measurement, ...]:
    """Windows of a minute, without the noise between launches."""
    server = SimulatedSGLang("RTX-4090", "Qwen/Qwen3-8B", flags(configuration), (300, 60), (32, 8), 0.0)
    runs = [
        (level, served(server.scheduler(), level.in_flight, WARMUP_S + 60, Random(1), 1.0, 0.0)) for level in LEVELS
    ]
    return tuple(measured(requests, level, 60) for level, requests in runs)


def loss(outcome: Outcome, goals: str) -> float:
    """How far the true objective of the best trial lies below that of the best configuration; 1 if it is infeasible."""
    values = true_values(goals)
    if not outcome.best or outcome.best[0] not in values:
        return 1.0
    return 1 - math.exp(values[outcome.best[0]] - max(values.values()))


def lines(strategy: str, goals: str, seeds: int, trials: int) -> Iterator[str]:
    """One line for each way of racing."""
    whole = [searched(STRATEGIES[strategy], study_of(goals, "off", trials), seed) for seed in range(seeds)]
    for racing in ("off", "levels", "auto"):
        spec = study_of(goals, racing, trials)
        found = whole if racing == "off" else [searched(STRATEGIES[strategy], spec, seed) for seed in range(seeds)]
        took = sum(o.seconds for o in found) / sum(o.seconds for o in whole)
        cut = sum(o.cut for o in found) / sum(o.trials for o in found)
        looked = sum(o.looked for o in found) / sum(o.trials for o in found)
        best = sum(a.best[:1] != b.best[:1] for a, b in zip(found, whole, strict=True))
        three = sum(set(a.best) != set(b.best) for a, b in zip(found, whole, strict=True))
        lost = statistics.fmean(loss(o, goals) for o in found)
        shares = f"{took:6.0%} {cut:6.0%} {looked:8.0%}"
        yield f"{goals:24} {racing:7} {shares} {best:4d} of {seeds} {three:4d} of {seeds} {lost:7.1%}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=16, help="launches of a search, the default included")
    parser.add_argument("--strategy", choices=[*STRATEGIES], default="random")
    arguments = parser.parse_args()
    print(f"{'goals':24} {'racing':7}   time    cut  by look other best other three  loss")
    for goals in GOALS:
        for line in lines(arguments.strategy, goals, arguments.seeds, arguments.trials):
            print(line, flush=True)


if __name__ == "__main__":
    main()
