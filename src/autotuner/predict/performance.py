"""How fast a configuration should be: TTFT, TPOT and throughput at each load level, and the capacity under bounds.

A roofline model or a prior gives the duration of a step, and a queueing model turns steps into latencies under a load.
The figures are of the right magnitude; a search corrects them by its measurements, along the slopes of a forecast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import exp, log, sqrt

from autotuner.plugins.prior import KnownServer, NoPredictionError, Prior, RequestTokens
from autotuner.predict.engines import MEMORY_RULES
from autotuner.predict.gpus import GpuModel
from autotuner.predict.memory import replica_of
from autotuner.predict.models import ModelShape
from autotuner.predict.queueing import Batching, Lengths, Steady, closed_loop, open_loop, peak
from autotuner.predict.roofline import NATIVE, REAL, SIMULATED, Calibration, Replica, StepTimes, Work, decode
from autotuner.study.metric import CAPACITY_METRICS
from autotuner.study.search.forecast import OUTPUT_THROUGHPUT, TPOT, TTFT, Channel, Forecast, LevelForecast
from autotuner.study.search.serving import Serving
from autotuner.study.workload import (
    CapacityLoad,
    Concurrency,
    LoadLevel,
    LoadUnit,
    RequestRate,
    Scenario,
    TokenLengths,
    Workload,
)

SOURCE = "roofline"
VERSION = "3"
"""Changes whenever the same configuration gets another forecast."""
PARAMETERS = ("compute", "memory", "link", "step", "queue")
"""Calibration parameters that a forecast has slopes for."""
CAPACITY_TOKENS = Channel("capacity_tokens")
_HIGH_FRACTION = 0.95
"""The largest share of the memory that engines use by default."""
_BISECTIONS = 20
_MOST_SLOTS = 4.0
"""The highest concurrency at which a capacity is searched, relative to the slots of a replica."""
_LEAST_SHARE = 1e4
"""Ratio of the highest to the lowest rate at which a capacity is searched."""
_CHANGE = 0.05
"""Step of the finite differences, in logs."""
_MIXED = frozenset({"vllm", "llama_cpp"})
"""Engines that compute prompts and decode in the same steps."""
StepTime = Callable[[float, float], float]
"""Seconds of a step by the number of decoding requests and of prompt tokens in it."""


def calibration_of(serving: Serving) -> Calibration:
    """The calibration that a server's forecast begins with."""
    if serving.simulated:
        return SIMULATED
    return NATIVE if serving.engine == "llama_cpp" else REAL


def forecast(
    shape: ModelShape,
    gpu: GpuModel,
    serving: Serving,
    workload: Workload,
    calibration: Calibration | None = None,
    *,
    bounds: Mapping[Channel, float] | None = None,
    staggered: bool = True,
    slopes: bool = True,
) -> Forecast | None:
    """Predicted results of one configuration.

    Args:
        shape: The model.
        gpu: Its GPUs.
        serving: The server.
        workload: Scenarios and levels. Levels other than a concurrency, a rate or a capacity in one of these, and
            scenarios without known lengths, are left out.
        calibration: Corrections for this hardware; None: the built-in assumptions.
        bounds: Upper bounds of mean TTFT and TPOT in seconds. The capacity is the highest load at which they hold;
            without any, the highest load that the server can sustain.
        staggered: Whether the first requests of a closed loop get shorter answers, as those of the built-in load
            generator do, so that requests do not arrive together.
        slopes: Whether to compute them, which takes six times as long.

    Returns:
        None if nothing can be predicted: an engine, a format or a method that is not modeled, or a server that does
        not fit.
    """
    base = calibration or calibration_of(serving)
    made = _Server.of(shape, gpu, serving)
    levels = made.levels(workload, base, bounds or {}, staggered=staggered, slopes=slopes) if made is not None else ()
    return Forecast(levels, SOURCE, VERSION) if levels else None


def forecast_by(
    prior: Prior,
    model: str,
    shape: ModelShape | None,
    gpu: GpuModel,
    serving: Serving,
    workload: Workload,
    *,
    bounds: Mapping[Channel, float] | None = None,
    staggered: bool = True,
    slopes: bool = True,
) -> Forecast | None:
    """As :func:`forecast`, with the durations of steps that a prior knows.

    Args:
        prior: The prior.
        model: The model, by Hub ID or folder.
        shape: Its shape, which determines the KV cache; None: the prior knows its size, too.
        gpu: See :func:`forecast`, also for the other arguments.
        serving: The server.
        workload: Scenarios and levels.
        bounds: Upper bounds of mean TTFT and TPOT.
        staggered: Whether requests of a closed loop do not arrive together.
        slopes: Whether to compute them. Only waiting time has one, because steps are taken as they are.
    """
    made = _Server.known_by(prior, model, shape, gpu, serving)
    if made is None:
        return None
    levels = made.levels(workload, calibration_of(serving), bounds or {}, staggered=staggered, slopes=slopes)
    return Forecast(levels, prior.kind, prior.version) if levels else None


def lengths_of(scenario: Scenario, workload: Workload, serving: Serving) -> Lengths | None:
    """Lengths of a scenario's requests; None if the study does not state them (datasets, traces, mixes, turns)."""
    if scenario.input is None or scenario.output is None:
        return None
    if scenario.mix or scenario.images or scenario.conversations or scenario.documents:
        return None
    shared = workload.prefix_tokens + (scenario.prefixes.tokens if scenario.prefixes else 0)
    cached = shared if serving.prefix_cache else 0
    return Lengths(
        prompt=max(1.0, scenario.input.mean + shared - cached),
        output=max(1.0, scenario.output.mean),
        spread=_deviation(scenario.output),
        cached=cached,
    )


def _deviation(lengths: TokenLengths) -> float:
    if lengths.kind == "uniform":
        return (lengths.b - lengths.a) / sqrt(12)
    return float(lengths.b) if lengths.kind == "normal" else 0.0


@dataclass(frozen=True)
class _Asked:
    """A load level with everything else that its prediction depends on."""

    lengths: Lengths
    level: LoadLevel
    window_s: float
    bounds: Mapping[Channel, float]


@dataclass(frozen=True)
class _Server:
    """One server with settled values."""

    times: Callable[[Serving, Lengths, Calibration], StepTime]
    """Step times of a replica."""
    serving: Serving
    sequences: int
    kv_tokens: int

    @classmethod
    def of(cls, shape: ModelShape, gpu: GpuModel, serving: Serving) -> "_Server | None":
        """None if the server is not modeled, or does not fit."""
        rules = MEMORY_RULES.get(serving.engine)
        replica = replica_of(shape, gpu, serving)
        if rules is None or replica is None or serving.speculative is not None:
            return None
        settled = rules.settled(serving, shape, gpu)
        use = rules.use(replica, settled)
        if use.kv_tokens <= 0 and serving.memory_fraction is None and not serving.simulated:
            # Releases differ in the fraction that they choose; it may fit after all.
            use = rules.use(replica, settled.replaced(memory_fraction=_HIGH_FRACTION), estimates=False)
        if use.kv_tokens <= 0:
            return None
        # Each group of data-parallel attention has a cache of its own.
        tokens = use.kv_tokens * serving.attention_dp
        return cls(partial(_roofline, replica), settled, rules.sequences(settled, tokens), tokens)

    @classmethod
    def known_by(
        cls, prior: Prior, model: str, shape: ModelShape | None, gpu: GpuModel, serving: Serving
    ) -> "_Server | None":
        """A server whose steps a prior knows; None if it does not, or if the server does not fit."""
        rules = MEMORY_RULES.get(serving.engine)
        if rules is None or serving.speculative is not None:
            return None
        settled = rules.settled(serving, shape, gpu)
        known = prior.server(model, gpu.name, settled)
        if known is None:
            return None
        times = partial(_known, known)
        if shape is not None:
            own = cls.of(shape, gpu, serving)
            return own and replace(own, times=times)
        tokens = known.kv_tokens()
        if not tokens:
            return None
        return cls(times, settled, rules.sequences(settled, tokens), tokens)

    def levels(
        self,
        workload: Workload,
        calibration: Calibration,
        bounds: Mapping[Channel, float],
        *,
        staggered: bool,
        slopes: bool,
    ) -> tuple[LevelForecast, ...]:
        """The predictions for every level that is modeled."""
        found = []
        for scenario in workload.scenarios:
            lengths = lengths_of(scenario, workload, self.serving)
            if lengths is None:
                continue
            lengths = replace(lengths, staggered=staggered)
            for level in workload.levels:
                asked = _Asked(lengths, level, workload.duration_s, bounds)
                try:
                    means = self.log_means(asked, calibration)
                    rises = self.slopes(asked, means, calibration) if slopes and means else {}
                except NoPredictionError:
                    continue
                if means:
                    found.append(LevelForecast(scenario.text, level.text, means, rises))
        return tuple(found)

    def batching(self, lengths: Lengths, calibration: Calibration) -> Batching:
        """How a replica batches requests of these lengths."""
        serving = self.serving
        mixed = serving.engine in _MIXED or bool(serving.flags.get("enable-mixed-chunk"))
        budget = float(serving.max_batched_tokens or lengths.prompt)
        if not mixed and serving.chunk:
            budget = min(budget, serving.chunk)
        return Batching(
            step_s=self.times(serving, lengths, calibration),
            slots=max(1.0, min(self.sequences, self.kv_tokens / (lengths.cached + lengths.prompt + lengths.output))),
            budget=max(1.0, budget),
            mixed=mixed,
            queue=calibration.queue,
        )

    def log_means(self, asked: _Asked, calibration: Calibration) -> dict[Channel, float]:
        """Logarithm of each channel; empty for levels that are not modeled, and for a capacity that is 0."""
        replicas = float(self.serving.dp)
        lengths = asked.lengths
        level = asked.level
        batching = self.batching(lengths, calibration)
        if isinstance(level, Concurrency):
            used = min(replicas, level.in_flight)
            return _logs(closed_loop(batching, lengths, level.in_flight / used), used, lengths, calibration)
        if isinstance(level, RequestRate):
            state = open_loop(batching, lengths, level.rate / replicas, asked.window_s)
            return _logs(state, replicas, lengths, calibration)
        if isinstance(level, CapacityLoad) and level.unit is not LoadUnit.SPEED:
            return self._capacity(asked, batching, level.unit, calibration)
        return {}

    def _capacity(
        self, asked: _Asked, batching: Batching, unit: LoadUnit, calibration: Calibration
    ) -> dict[Channel, float]:
        """The highest load of all replicas at which every bound holds, by bisection: latencies rise with the load."""
        lengths = asked.lengths
        replicas = float(self.serving.dp)
        closed = unit is LoadUnit.CONCURRENCY

        def logs(load: float) -> dict[Channel, float]:
            state = (
                closed_loop(batching, lengths, load) if closed else open_loop(batching, lengths, load, asked.window_s)
            )
            return _logs(state, replicas, lengths, calibration)

        def holds(load: float) -> bool:
            found = logs(load)
            return all(found.get(channel, 0.0) <= log(bound) for channel, bound in asked.bounds.items())

        high = log(_MOST_SLOTS * batching.slots if closed else peak(batching, lengths))
        low = 0.0 if closed else high - log(_LEAST_SHARE)
        if not holds(exp(low)):
            return {}
        if not holds(exp(high)):
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                low, high = (middle, high) if holds(exp(middle)) else (low, middle)
            high = low
        most = exp(high)
        channel = Channel(CAPACITY_METRICS[unit])
        return {channel: log(most * replicas), CAPACITY_TOKENS: logs(most)[OUTPUT_THROUGHPUT]}

    def slopes(
        self, asked: _Asked, means: Mapping[Channel, float], calibration: Calibration
    ) -> dict[Channel, Mapping[str, float]]:
        """Derivative of each channel with respect to the logarithm of each parameter, by differences from ``means``."""
        found: dict[Channel, dict[str, float]] = {}
        for name in PARAMETERS:
            moved = replace(calibration, **{name: getattr(calibration, name) * (1 + _CHANGE)})
            above = self.log_means(asked, moved)
            for channel in above.keys() & means.keys():
                slope = (above[channel] - means[channel]) / log(1 + _CHANGE)
                if abs(slope) > 1e-6:
                    found.setdefault(channel, {})[name] = slope
        return dict(found)


def _roofline(replica: Replica, serving: Serving, lengths: Lengths, calibration: Calibration) -> StepTime:
    """Step times of a replica by the roofline."""
    context = lengths.cached + lengths.prompt + lengths.output / 2
    graphs = serving.graph_max or 0
    longest = serving.graph_max_prefill or 0
    times = StepTimes(replica, calibration)

    def step_s(requests: float, prompt: float) -> float:
        work = decode(requests, context) if requests else Work(0, 0)
        if prompt:
            number = max(1.0, prompt / lengths.prompt)
            earlier = lengths.cached + max(0.0, lengths.prompt - prompt) / 2
            pairs = prompt * (earlier + prompt / number / 2)
            work += Work(prompt, number if prompt >= lengths.prompt else 0, prompt + number * earlier, pairs)
        graph = work.tokens <= (longest if prompt else graphs)
        return times.step_s(work, graph=graph)

    return step_s


def _known(server: KnownServer, _: Serving, lengths: Lengths, __: Calibration) -> StepTime:
    """Step times that a prior knows."""
    tokens = RequestTokens(round(lengths.cached), round(lengths.prompt), round(lengths.output))
    return lambda requests, prompt: server.step_s(requests, prompt, tokens)


def _logs(state: Steady, replicas: float, lengths: Lengths, calibration: Calibration) -> dict[Channel, float]:
    """Logarithm of each channel of a number of replicas in the same state."""
    means = {TTFT: log(state.ttft_s + calibration.request_s)}
    if lengths.output > 1:
        means[TPOT] = log(state.tpot_s)
    means[OUTPUT_THROUGHPUT] = log(state.requests_s * replicas * lengths.output)
    return means
