"""Studies that look like real ones, for tests and documentation: no server is started, every number is made.

A sample holds what a store would hold; its verdicts are scored by the real scoring, so a sample cannot contradict it.
Numbers follow a simple queueing-like model with seeded noise, so a sample is the same each time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from random import Random

from autotuner import scoring
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import Distribution, Measurement, SelfCheck
from autotuner.study.metric import Direction
from autotuner.study.noun import Noun, Value
from autotuner.study.objective import SLO, Objective
from autotuner.study.parameter import Choices, Parameter
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency, Scenario, TokenLengths, Workload


class SampleKind(StrEnum):
    """What a sample study shows."""

    WINNER = "winner"
    """A winner, proven by three interleaved repeats."""
    AS_GOOD = "as_good"
    """A candidate that its repeats do not show to be better than the default."""
    DEFAULT_BEST = "default_best"
    """No other configuration was even as fast as the default."""
    UNPROVEN = "unproven"
    """Stopped before the proof."""
    INFEASIBLE = "infeasible"
    """No configuration meets the SLOs."""
    FAILURES = "failures"
    """Most configurations fail, for several causes; the figures come with every kind of caveat."""
    LATENCY = "latency"
    """A smaller-is-better objective, proven."""
    SEVERAL = "several"
    """Two objectives."""
    HUGE = "huge"
    """300 trials."""
    EMPTY = "empty"
    """Nothing has finished yet."""


class Sample(Noun):
    """What the store holds of one study."""

    spec: StudySpec
    state: str
    why: str = ""
    trials: tuple[Trial, ...] = ()


THROUGHPUT = Objective(metric="output_throughput", direction=Direction.MAX)
LATENCY = Objective(metric="ttft", statistic="p99", direction=Direction.MIN)
_SLO = SLO(metric="ttft", statistic="p99", threshold=0.4)
_START = 1_780_000_000.0


def sample_study(kind: SampleKind | str = SampleKind.WINNER) -> Sample:
    """The sample of that kind; equal at every call. Raises ValueError for an unknown kind."""
    return _MAKERS[SampleKind(kind)]()


def sample_spec(
    name: str = "chat-8b",
    *,
    objectives: Sequence[Objective] = (THROUGHPUT,),
    slos: Sequence[SLO] = (_SLO,),
    trials: int = 14,
    space: Mapping[str, tuple[Value, ...]] | None = None,
) -> StudySpec:
    """A study of a llama.cpp server with three parameters, one scenario and two levels."""
    scenario = Scenario(
        text="D(128,48)", input=TokenLengths(kind="fixed", a=128), output=TokenLengths(kind="fixed", a=48)
    )
    spec = StudySpec(
        name=name,
        model=Model(path="/models/tiny-8b-q4.gguf"),
        engine=EngineSpec(kind="llama_cpp", args={"ctx-size": 16384}),
        deploy=PluginSpec(kind="process"),
        parameters=tuple(Parameter(name=n, domain=Choices(values=v)) for n, v in (space or _SPACE).items()),
        workload=Workload(scenarios=(scenario,), levels=(Concurrency(in_flight=4), Concurrency(in_flight=16))),
        objectives=tuple(objectives),
        slos=tuple(slos),
    )
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": trials})})


_SPACE: dict[str, tuple[Value, ...]] = {
    "parallel": (2, 4, 8, 16),
    "ubatch-size": (64, 128, 256, 512),
    "flash-attn": (False, True),
}


def sample_speed(c: Configuration) -> float:
    """Tokens/s at full load."""
    parallel = float(c.values.get("parallel", 4) or 4)
    batch = float(c.values.get("ubatch-size", 512) or 512)
    flash = 1.06 if c.values.get("flash-attn") else 1.0
    return 420 * math.pow(parallel / 4, 0.32) * math.pow(batch / 512, 0.05) * flash


def sample_latency(c: Configuration) -> float:
    """Median TTFT at full load, seconds."""
    parallel = float(c.values.get("parallel", 4) or 4)
    batch = float(c.values.get("ubatch-size", 512) or 512)
    return 0.13 * math.pow(parallel / 4, 0.45) * math.pow(512 / batch, 0.12)


@dataclass
class StudyMaker:
    """Adds trials one by one, as a run would."""

    spec: StudySpec
    seed: int = 1
    noise: float = 0.012
    """Relative standard deviation between two measurements of one configuration."""
    speed: Callable[[Configuration], float] = sample_speed
    latency: Callable[[Configuration], float] = sample_latency
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 - seeded, not secret

    def measured(
        self, configuration: Configuration = DEFAULT, *, repeat_of: int | None = None, **check: object
    ) -> Trial:
        """A trial that ran; ``check`` replaces fields of its measurements."""
        measurements = tuple(
            self._measure(configuration, s.text, level).model_copy(update=check)
            for s in self.spec.workload.scenarios
            for level in self.spec.workload.levels
            if isinstance(level, Concurrency)
        )
        expected = [(s.text, level) for s in self.spec.workload.scenarios for level in self.spec.workload.levels]
        verdict = scoring.score(
            measurements,
            self.spec.objectives,
            self.spec.slos,
            min_success_rate=self.spec.min_success_rate,
            expected=expected,
        )
        return self._add(
            configuration, TrialState.DONE, repeat_of=repeat_of, measurements=measurements, verdict=verdict
        )

    def failed(self, configuration: Configuration, failure: Failure) -> Trial:
        """A trial that could not run."""
        return self._add(configuration, TrialState.FAILED, failure=failure)

    def running(self, configuration: Configuration = DEFAULT) -> Trial:
        """A trial that has not finished."""
        return self._add(configuration, TrialState.RUNNING, finished_at=None)

    def proof(self, winner: Trial, repeats: int = 3) -> None:
        """Interleaved repeats of default and winner: D W W D D W."""
        default = self.trials[0]
        for i in range(repeats):
            for trial in (default, winner) if i % 2 == 0 else (winner, default):
                self.measured(trial.configuration, repeat_of=trial.number)

    def sample(self, state: str = "done", why: str = "") -> Sample:
        """The study so far."""
        return Sample(spec=self.spec, state=state, why=why, trials=tuple(self.trials))

    def _add(
        self, configuration: Configuration, state: TrialState, *, repeat_of: int | None = None, **facts: object
    ) -> Trial:
        number = len(self.trials)
        role = TrialRole.SEARCH if number else TrialRole.DEFAULT
        began = _START + 20.0 * number
        trial = Trial(
            study=self.spec.name,
            number=number,
            role=role if repeat_of is None else TrialRole.CONFIRM,
            configuration=configuration,
            state=state,
            repeat_of=repeat_of,
            argv=_argv(self.spec, configuration),
            phases={"loading": 1.2, "measuring": 16.0},
            created_at=began,
            started_at=began,
            finished_at=began + 19.0,
        ).model_copy(update=facts)
        self.trials.append(trial)
        return trial

    def _measure(self, configuration: Configuration, scenario: str, level: Concurrency) -> Measurement:
        load = level.in_flight / 16
        rate = self.speed(configuration) * (0.55 + 0.45 * load) * self._random.gauss(1, self.noise)
        ttft = self.latency(configuration) * (0.3 + 0.7 * load) * self._random.gauss(1, 2 * self.noise)
        tpot = level.in_flight / rate
        window = 8.0
        requests = max(1, round(rate * window / 48))
        return Measurement(
            scenario=scenario,
            level=level,
            window_s=window,
            requests=requests,
            failed=0,
            distributions={
                "ttft": spread(ttft, requests),
                "tpot": spread(tpot, requests, 1.15),
                "e2e_latency": spread(ttft + 47 * tpot, requests, 1.2),
            },
            scalars={
                "output_throughput": rate,
                "input_throughput": rate * 128 / 48,
                "total_throughput": rate * 176 / 48,
                "request_throughput": rate / 48,
                "goodput": rate / 48,
                "success_rate": 1.0,
            },
            self_check=SelfCheck(
                loop_lag_p99_s=0.0008, send_lag_p99_s=0.0004, client_cpu_cores=0.04, foreign_cpu_cores=0.02
            ),
            records=f"{scenario}-{level.in_flight}.parquet",
            started_at=_START,
        )


def spread(median: float, count: int, tail: float = 1.8) -> Distribution:
    """A distribution around a median whose p99 is ``tail`` times as large."""
    steps = {"p50": 0.0, "p75": 0.3, "p90": 0.55, "p95": 0.75, "p99": 1.0, "p99_9": 1.15, "max": 1.2}
    values = {k: median * math.pow(tail, share) for k, share in steps.items()}
    return Distribution(
        count=count, mean=median * math.pow(tail, 0.1), std=median * (tail - 1) / 3, min=median * 0.7, **values
    )


def configuration(**values: Value) -> Configuration:
    """A configuration; underscores in names stand for hyphens."""
    return Configuration(values={k.replace("_", "-"): v for k, v in values.items()})


def _argv(spec: StudySpec, configuration: Configuration) -> tuple[str, ...]:
    words = ["llama-server", "--model", spec.model.path]
    for name, value in (*spec.engine.args.items(), *configuration.values.items()):
        if value is True or value is None:
            words += [f"--{name}"] if value else []
        elif value is not False:
            words += [f"--{name}", str(value)]
    return (*words, "--host", "127.0.0.1", "--port", "41234")


def _points(count: int, seed: int) -> list[Configuration]:
    """Distinct points of the space, in a seeded order."""
    found = [
        configuration(parallel=p, ubatch_size=u, flash_attn=f)
        for p in _SPACE["parallel"]
        for u in _SPACE["ubatch-size"]
        for f in _SPACE["flash-attn"]
    ]
    Random(seed).shuffle(found)  # noqa: S311 - seeded, not secret
    return found[:count]


def _searched(maker: StudyMaker, count: int) -> Trial:
    """The default and ``count - 1`` others; gives the best of these."""
    maker.measured()
    for point in _points(count - 1, maker.seed):
        maker.measured(point)
    return scoring.rank(maker.trials[1:], maker.spec.objectives)[0]


def _winner() -> Sample:
    maker = StudyMaker(sample_spec())
    maker.proof(_searched(maker, 14))
    return maker.sample(why="14 trials")


def _as_good() -> Sample:
    maker = StudyMaker(sample_spec("chat-flat"), noise=0.03, speed=lambda _: 420.0, latency=lambda _: 0.13)
    maker.proof(_searched(maker, 10))
    return maker.sample(why="10 trials")


def _default_best() -> Sample:
    maker = StudyMaker(sample_spec("chat-tuned"), speed=lambda c: 300.0 if c.values else 420.0, latency=lambda _: 0.13)
    _searched(maker, 6)
    return maker.sample(why="6 trials")


def _unproven() -> Sample:
    maker = StudyMaker(sample_spec("chat-short"), seed=2)
    _searched(maker, 10)
    return maker.sample("stopped", "stopped by the user")


def _infeasible() -> Sample:
    slos = (SLO(metric="ttft", statistic="p99", threshold=0.05), SLO(metric="tpot", statistic="p50", threshold=0.02))
    maker = StudyMaker(sample_spec("chat-strict", slos=slos))
    _searched(maker, 8)
    return maker.sample(why="8 trials")


def _latency_study() -> Sample:
    maker = StudyMaker(sample_spec("chat-fast", objectives=(LATENCY,), slos=()), seed=3)
    maker.proof(_searched(maker, 12))
    return maker.sample(why="12 trials")


def _several() -> Sample:
    maker = StudyMaker(sample_spec("chat-both", objectives=(THROUGHPUT, LATENCY)), seed=5)
    maker.proof(_searched(maker, 16))
    return maker.sample(why="16 trials")


def _huge() -> Sample:
    space: dict[str, tuple[Value, ...]] = {
        "parallel": tuple(range(1, 17)),
        "ubatch-size": tuple(range(32, 544, 32)),
        "flash-attn": (False, True),
    }
    maker = StudyMaker(sample_spec("chat-huge", trials=300, space=space), seed=7)
    maker.measured()
    points = [Configuration(values=dict(zip(space, v, strict=True))) for v in product(*space.values())]
    for number, point in enumerate(Random(7).sample(points, 299), start=1):  # noqa: S311 - seeded, not secret
        if number % 23 == 0:
            maker.failed(point, _OUT_OF_MEMORY)
        else:
            maker.measured(point)
    maker.proof(scoring.rank(maker.trials[1:], maker.spec.objectives)[0])
    return maker.sample(why="300 trials")


def _empty() -> Sample:
    maker = StudyMaker(sample_spec("chat-new"))
    maker.running()
    return maker.sample("running")


_OUT_OF_MEMORY = Failure(
    cause=FailureCause.OUT_OF_MEMORY,
    message="the KV cache does not fit into memory",
    remedy="lower ctx-size or parallel",
    exit_code=1,
    log_tail="llama_kv_cache: size = 8192.00 MiB\nggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer",
)


def _failures() -> Sample:
    maker = StudyMaker(sample_spec("chat-broken"), noise=0.02)
    maker.measured()
    points = _points(9, 4)
    for point in points[:3]:
        maker.failed(point, _OUT_OF_MEMORY)
    crash = Failure(
        cause=FailureCause.CRASH_UNDER_LOAD,
        message="the server ended under load with signal SIGSEGV",
        exit_code=-11,
        log_tail="slot update_slots: id  3 | task 41 | decoding <|im_start|>\nSegmentation fault (core dumped)",
    )
    maker.failed(points[3], crash)
    late = Failure(
        cause=FailureCause.START_TIMEOUT,
        message="/health did not answer within 120 s",
        remedy="raise the engine's start timeout, or look at the log",
        log_tail="load_tensors: loading model tensors ...",
    )
    maker.failed(points[4], late)
    limited = SelfCheck(client_limited=True, reasons=("loop lag p99 31 ms",), client_cpu_cores=0.97)
    maker.measured(points[5], self_check=limited)
    maker.measured(points[6], steady=False, warnings=("output throughput fell by 18 % during the window",))
    maker.measured(points[7], self_check=SelfCheck(foreign_cpu_cores=0.8))
    winner = maker.measured(points[8], token_source="chunks")  # noqa: S106 - where token counts come from
    maker.proof(winner, repeats=2)
    return maker.sample("interrupted", "Ctrl-C")


_MAKERS: dict[SampleKind, Callable[[], Sample]] = {
    SampleKind.WINNER: _winner,
    SampleKind.AS_GOOD: _as_good,
    SampleKind.DEFAULT_BEST: _default_best,
    SampleKind.UNPROVEN: _unproven,
    SampleKind.INFEASIBLE: _infeasible,
    SampleKind.FAILURES: _failures,
    SampleKind.LATENCY: _latency_study,
    SampleKind.SEVERAL: _several,
    SampleKind.HUGE: _huge,
    SampleKind.EMPTY: _empty,
}
