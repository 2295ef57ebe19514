"""Generator of synthetic studies, trial by trial: no server is started, and every number is made up.

Verdicts come from the real scoring, so a study is consistent with it. Numbers follow a simple queueing-like model with
seeded noise, so a study is the same every time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from autotuner import scoring
from autotuner.plugins import loading
from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure
from autotuner.study.measurement import Distribution, GpuUse, Measurement, SelfCheck
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency

_START = 1_780_000_000.0


class Sample(FrozenModel):
    """The stored data of one study."""

    spec: StudySpec
    state: str
    why: str = ""
    trials: tuple[Trial, ...] = ()


def number_in(c: Configuration, name: str, default: float) -> float:
    """A tuned number, or the default if it is not set."""
    value = c.values.get(name)
    return float(value) if isinstance(value, int | float) and value else default


def sample_speed(c: Configuration) -> float:
    """Tokens/s at full load."""
    parallel = number_in(c, "parallel", 4)
    batch = number_in(c, "ubatch-size", 512)
    flash = 1.06 if c.values.get("flash-attn") else 1.0
    return 420 * math.pow(parallel / 4, 0.32) * math.pow(batch / 512, 0.05) * flash


def sample_latency(c: Configuration) -> float:
    """Median TTFT at full load, seconds."""
    parallel = number_in(c, "parallel", 4)
    batch = number_in(c, "ubatch-size", 512)
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
    gpus: Callable[[Configuration], int] = lambda _: 0
    """GPUs that a configuration uses."""
    simulated: bool = False
    """Whether trials added from now on are simulated."""
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
        measurements = tuple(_on_gpus(m, self.gpus(configuration)) for m in measurements)
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

    def failed(self, configuration: Configuration, failure: Failure, *, repeat_of: int | None = None) -> Trial:
        """A trial that could not run."""
        return self._add(configuration, TrialState.FAILED, repeat_of=repeat_of, failure=failure)

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
            resolved={"simulated": True} if self.simulated else {},
            gpus=self.gpus(configuration),
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
        window = 60.0
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


def winning_sample(
    spec: StudySpec, tuned: Mapping[str, Value], *, gpus: int = 0, simulated: bool = False, **trial: object
) -> Sample:
    """A study in which one configuration beats the default; ``trial`` replaces fields of its trial."""
    maker = StudyMaker(spec, speed=lambda c: 900.0 if c.values else 400.0, gpus=lambda _: gpus, simulated=simulated)
    maker.measured()
    won = maker.measured(Configuration(values=tuned))
    maker.trials[-1] = won.model_copy(update=trial)
    return maker.sample()


def spread(median: float, count: int, tail: float = 1.8) -> Distribution:
    """A distribution around a median whose p99 is ``tail`` times as large."""
    steps = {"p50": 0.0, "p75": 0.3, "p90": 0.55, "p95": 0.75, "p99": 1.0, "p99_9": 1.15, "max": 1.2}
    values = {k: median * math.pow(tail, share) for k, share in steps.items()}
    return Distribution(
        count=count, mean=median * math.pow(tail, 0.1), std=median * (tail - 1) / 3, min=median * 0.7, **values
    )


def _on_gpus(measured: Measurement, gpus: int) -> Measurement:
    """The measurement with sensor values of so many 700 W GPUs, which rise with their load."""
    rate = measured.value("output_throughput", None)
    if not gpus or rate is None:
        return measured
    busy = min(0.99, 0.4 + rate / gpus / 2500)
    power = gpus * 700 * busy
    use = GpuUse(
        samples=round(2 * measured.window_s),
        utilization=busy,
        memory_gb=70.4,
        power_w=power,
        temperature_c=40 + 35 * busy,
        clock_mhz=1980.0,
        energy_j=power * measured.window_s,
    )
    scalars = {**measured.scalars, "output_throughput_per_gpu": rate / gpus, "energy_per_token": power / rate}
    return measured.model_copy(update={"gpu_use": use, "scalars": scalars})


def _argv(spec: StudySpec, configuration: Configuration) -> tuple[str, ...]:
    """The command line that the study's engine would launch."""
    plan = loading.engine(spec.engine).launch(spec.model, spec.engine, configuration)
    return plan.argv(host="127.0.0.1", port=41234)
