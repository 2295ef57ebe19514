"""Synthetic studies for tests and documentation: no server is started, and every number is made up.

A sample contains what a store would contain, and is deterministic; see :mod:`autotuner.testing.study_maker`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import product
from random import Random

from autotuner import scoring
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import SelfCheck
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.spec import ConfirmSpec, EngineSpec, Model, PluginSpec, StudySpec
from autotuner.study.trial import Trial
from autotuner.study.workload import Concurrency, Scenario, TokenLengths, Workload
from autotuner.testing.study_maker import Sample, StudyMaker, number_in, sample_latency, sample_speed, spread

__all__ = [
    "LATENCY",
    "THROUGHPUT",
    "Sample",
    "SampleKind",
    "StudyMaker",
    "configuration",
    "sample_latency",
    "sample_spec",
    "sample_speed",
    "sample_study",
    "spread",
]


class SampleKind(StrEnum):
    """What a sample study shows."""

    WINNER = "winner"
    """A winner, proven by three interleaved repeats."""
    AS_GOOD = "as_good"
    """A challenger whose repeats show that it is as good as the default."""
    NO_DIFFERENCE = "no_difference"
    """A challenger whose repeats are too noisy for a conclusion."""
    REFUTED = "refuted"
    """The fastest configuration crashes in one of its repeats."""
    DEFAULT_BEST = "default_best"
    """The repeats show that every other configuration is slower than the default."""
    UNPROVEN = "unproven"
    """Stopped before the proof."""
    INFEASIBLE = "infeasible"
    """No configuration meets the SLOs."""
    FAILURES = "failures"
    """Most configurations fail, with several causes, and the measurements have every kind of caveat."""
    LATENCY = "latency"
    """A smaller-is-better objective, proven."""
    SEVERAL = "several"
    """Two objectives."""
    HUGE = "huge"
    """300 trials."""
    GPUS = "gpus"
    """A GPU server whose configurations use one, two or four GPUs, with their sensors."""
    SIMULATED = "simulated"
    """The same study from a simulator."""
    EMPTY = "empty"
    """Nothing has finished yet."""


THROUGHPUT = Objective(metric="output_throughput", direction=Direction.MAX)
LATENCY = Objective(metric="ttft", statistic="p99", direction=Direction.MIN)
_SLO = SLO(metric="ttft", statistic="p99", threshold=0.4)


def sample_study(kind: SampleKind | str = SampleKind.WINNER) -> Sample:
    """The sample of that kind, equal in every call; raises ``ValueError`` for an unknown kind."""
    return _made(SampleKind(kind))


@cache
def _made(kind: SampleKind) -> Sample:
    return _MAKERS[kind]()


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
        engine=EngineSpec.model_validate({"kind": "llama_cpp", "server": "llama-server", "args": {"ctx-size": 16384}}),
        deploy=PluginSpec(kind="process"),
        parameters=tuple(Parameter(name=n, domain=Choices(values=v)) for n, v in (space or _SPACE).items()),
        workload=Workload(scenarios=(scenario,), levels=(Concurrency(in_flight=4), Concurrency(in_flight=16))),
        objectives=tuple(objectives),
        slos=tuple(slos),
        confirm=ConfirmSpec(repeats=3),
    )
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": trials})})


_SPACE: dict[str, tuple[Value, ...]] = {
    "parallel": (2, 4, 8, 16),
    "ubatch-size": (64, 128, 256, 512),
    "flash-attn": (False, True),
}


def configuration(**values: Value) -> Configuration:
    """A configuration; underscores in names stand for hyphens."""
    return Configuration(values={k.replace("_", "-"): v for k, v in values.items()})


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
    """Measures the default and ``count - 1`` other configurations; returns the best of the others."""
    maker.measured()
    for point in _points(count - 1, maker.seed):
        maker.measured(point)
    return scoring.rank(maker.trials[1:], maker.spec.objectives)[0]


def _winner() -> Sample:
    maker = StudyMaker(sample_spec())
    maker.proof(_searched(maker, 14))
    return maker.sample(why="14 trials")


def _flat(name: str, noise: float) -> Sample:
    maker = StudyMaker(sample_spec(name), noise=noise, speed=lambda _: 420.0, latency=lambda _: 0.13)
    maker.proof(_searched(maker, 10))
    return maker.sample(why="10 trials")


def _refuted() -> Sample:
    maker = StudyMaker(sample_spec("chat-fragile"), noise=0.02, speed=lambda _: 420.0, latency=lambda _: 0.13)
    maker.measured()
    steady = maker.measured(configuration(parallel=8))
    fragile = configuration(parallel=16)
    maker.speed = lambda c: 1600.0 if c == fragile else 420.0
    fast = maker.measured(fragile)
    maker.proof(steady)
    maker.failed(fragile, _CRASH, repeat_of=fast.number)
    return maker.sample(why="3 trials")


def _default_best() -> Sample:
    maker = StudyMaker(sample_spec("chat-tuned"), speed=lambda c: 300.0 if c.values else 420.0, latency=lambda _: 0.13)
    maker.proof(_searched(maker, 6))
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
    maker.latency = lambda c: 0.9 * sample_latency(c)  # the best one keeps a distance from the SLO in its repeats
    maker.proof(scoring.rank(maker.trials[1:], maker.spec.objectives)[0])
    return maker.sample(why="300 trials")


def _on_one_machine(name: str, *, simulated: bool = False) -> Sample:
    """Throughput grows less than the number of GPUs: one GPU is the cheapest per token."""
    space: dict[str, tuple[Value, ...]] = {"tp-size": (1, 2, 4), "mem-fraction-static": (0.8, 0.85, 0.9)}
    spec = sample_spec(name, slos=(), trials=10, space=space)
    engine = EngineSpec(kind="sglang")
    maker = StudyMaker(
        spec.model_copy(update={"engine": engine, "model": Model(path="/models/chat-8b")}),
        seed=11,
        speed=lambda c: 1500 * math.pow(_tp(c), 0.7) * number_in(c, "mem-fraction-static", 0.82),
        latency=lambda c: 0.2 / _tp(c),
        gpus=_tp,
        simulated=simulated,
    )
    maker.measured()
    for values in product(*space.values()):
        maker.measured(Configuration(values=dict(zip(space, values, strict=True))))
    maker.proof(scoring.rank(maker.trials[1:], maker.spec.objectives)[0])
    return maker.sample(why="trial budget (10) used up")


def _tp(c: Configuration) -> int:
    return int(number_in(c, "tp-size", 1))


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


_CRASH = Failure(
    cause=FailureCause.CRASH_UNDER_LOAD,
    message="the server was terminated by SIGSEGV under load",
    exit_code=-11,
    log_tail="slot update_slots: id  3 | task 41 | decoding <|im_start|>\nSegmentation fault (core dumped)",
)


def _failures() -> Sample:
    maker = StudyMaker(sample_spec("chat-broken"), noise=0.02)
    maker.measured()
    points = _points(9, 4)
    for point in points[:3]:
        maker.failed(point, _OUT_OF_MEMORY)
    maker.failed(points[3], _CRASH)
    late = Failure(
        cause=FailureCause.START_TIMEOUT,
        message="/health did not answer within 120 s",
        remedy="raise the engine's start timeout, or look at the log",
        log_tail="load_tensors: loading model tensors ...",
    )
    maker.failed(points[4], late)
    limited = SelfCheck(client_limited=True, reasons=("loop lag p99 31 ms",), client_cpu_cores=0.97)
    maker.measured(points[5], self_check=limited)
    maker.measured(points[6], steady=False, warnings=("output throughput fell by 18% during the window",))
    maker.measured(points[7], self_check=SelfCheck(foreign_cpu_cores=0.8))
    winner = maker.measured(points[8], token_source="chunks")  # noqa: S106 - where token counts come from
    maker.proof(winner, repeats=2)
    return maker.sample("interrupted", "Ctrl-C")


_MAKERS: dict[SampleKind, Callable[[], Sample]] = {
    SampleKind.WINNER: _winner,
    SampleKind.AS_GOOD: lambda: _flat("chat-flat", 0.005),
    SampleKind.NO_DIFFERENCE: lambda: _flat("chat-noisy", 0.03),
    SampleKind.REFUTED: _refuted,
    SampleKind.DEFAULT_BEST: _default_best,
    SampleKind.UNPROVEN: _unproven,
    SampleKind.INFEASIBLE: _infeasible,
    SampleKind.FAILURES: _failures,
    SampleKind.LATENCY: _latency_study,
    SampleKind.SEVERAL: _several,
    SampleKind.HUGE: _huge,
    SampleKind.GPUS: lambda: _on_one_machine("chat-gpus"),
    SampleKind.SIMULATED: lambda: _on_one_machine("chat-simulated", simulated=True),
    SampleKind.EMPTY: _empty,
}
