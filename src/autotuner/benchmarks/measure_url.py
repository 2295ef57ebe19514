"""Measurement of a URL without a trial, for ``autotuner bench URL``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.errors import StoppedEarlyError
from autotuner.net.target import Target
from autotuner.plugins.benchmark import Progress, Window
from autotuner.plugins.deployer import CommandRunner, Endpoint
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.scoring.repeats import LagRepeats, lag_text, set_aside
from autotuner.scoring.slo import missed, worst_value
from autotuner.study.base import FrozenModel
from autotuner.study.failure import Failure
from autotuner.study.launch import Identity, Labels
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS
from autotuner.study.objective import SLO
from autotuner.study.workload import LoadLevel, Scenario, Workload

OnProgress = Callable[[Scenario, LoadLevel, Progress], None]
OnMeasured = Callable[[Measurement], None]
OnRepeat = Callable[[Scenario, LoadLevel, str], None]


class SloResult(FrozenModel):
    """One SLO at one scenario and level, in the metric's own unit."""

    slo: str
    metric: str
    scenario: str
    level: str
    value: float | None
    """None if unknown: no request succeeded, or the percentile falls among requests that did not end."""
    threshold: float
    met: bool
    """Whether the value meets the SLO; an unknown value and a latency of an overloaded window never do."""
    too_few: int | None = None
    """Number of requests, if they are too few for the percentile."""


class BenchReport(FrozenModel):
    """Result of ``bench``: one measurement per scenario and level, and the results of the SLOs."""

    url: str
    """The URL without user, password and query."""
    measurements: tuple[Measurement, ...] = ()
    slos: tuple[SloResult, ...] = ()


class BenchStoppedError(StoppedEarlyError[BenchReport]):
    """``bench`` stopped by an interrupt or an error after some windows; ``report`` has the measured ones."""


class AddressEndpoint(Endpoint):
    """A server that is known only by its URL."""

    def __init__(self, target: Target, model: str, client: CommandRunner) -> None:
        self.url = target.base
        self.access = target.access
        self._headers = target.headers
        self.model = model
        self.argv = ()
        self.client = client

    @property
    def headers(self) -> Mapping[str, str]:
        """Credentials and other request headers."""
        return self._headers

    async def identity(self) -> Identity:
        """The URL, for lack of anything else."""
        return Identity(kind="external", id=self.url)

    async def died(self) -> Failure:
        """Never returns, because the server's process is not watched."""
        await anyio.sleep_forever()
        raise AssertionError

    async def log_tail(self, lines: int = 40) -> str:
        """Empty, because the log is out of reach."""
        return ""

    def pids(self) -> frozenset[int]:
        """Empty, because the processes are unknown."""
        return frozenset()


async def bench(
    target: Target,
    model: str,
    workload: Workload,
    *,
    client: CommandRunner,
    folder: Path,
    slos: Sequence[SLO] = (),
    settings: NativeSettings | None = None,
    server_metrics: Sequence[MetricsSource] = (),
    on_progress: OnProgress = lambda _scenario, _level, _progress: None,
    on_measured: OnMeasured = lambda _: None,
    on_repeat: OnRepeat = lambda _scenario, _level, _why: None,
) -> list[Measurement]:
    """Measures every scenario at every level, in order; again where lags of the load generator spoiled the window.

    Args:
        target: URL, credentials and access of the server.
        model: Name of the model in requests.
        workload: Scenarios and levels.
        client: Runs the load generator.
        folder: Receives the records as ``records-SCENARIO-LEVEL.parquet``, numbered from 0; those of the first and the
            second repetition of a window as ``records-SCENARIO-LEVEL-1.parquet`` and ``-2``.
        slos: For ``goodput`` and for the length of windows.
        settings: Settings of the load generator.
        on_progress: Called during a window.
        on_measured: Called with each measurement as soon as its window has ended.
        on_repeat: Called with the reason when a window is measured again.

    Raises:
        UsageError: A file of the workload is not usable.
        TrialFailedError: The load generator itself failed.
    """
    endpoint = AddressEndpoint(target, model, client)
    benchmark = NativeBenchmark(settings or NativeSettings())
    repeats = LagRepeats()
    found = []
    for number, scenario in enumerate(workload.scenarios):
        for index, level in enumerate(workload.levels):

            def report(progress: Progress, scenario: Scenario = scenario, level: LoadLevel = level) -> None:
                on_progress(scenario, level, progress)

            window = Window(
                scenario=scenario,
                level=level,
                workload=workload,
                labels=Labels(study="bench", trial=0, owner="bench"),
                folder=folder,
                records_name=f"records-{number}-{index}.parquet",
                slos=slos,
                headers=endpoint.headers,
                on_progress=report,
                server_metrics=server_metrics,
            )
            found.append(await _kept_up(benchmark, endpoint, window, repeats, on_repeat))
            on_measured(found[-1])
    return found


async def _kept_up(
    benchmark: NativeBenchmark, endpoint: Endpoint, window: Window, repeats: LagRepeats, on_repeat: OnRepeat
) -> Measurement:
    """Measures a window, again while lags of the load generator spoil it and that may help."""
    taken = [await benchmark.measure(endpoint, window)]
    while repeats.seen(taken):
        on_repeat(window.scenario, window.level, lag_text(taken[-1]))
        name = f"{Path(window.records_name).stem}-{len(taken)}.parquet"
        taken.append(await benchmark.measure(endpoint, replace(window, records_name=name)))
    return taken[-1].replaced(set_aside=tuple(set_aside(m, lag_text(m)) for m in taken[:-1]))


def slo_results(measurements: Sequence[Measurement], slos: Sequence[SLO]) -> tuple[SloResult, ...]:
    """The result of each SLO at each scenario and level it applies to. SLOs on single requests (without a statistic)
    only count in ``goodput``."""
    return tuple(
        _slo_result(slo, measured)
        for slo in slos
        for measured in measurements
        if (slo.statistic is not None or not METRICS[slo.metric].distribution)
        and slo.at in {None, measured.level.text}
        and slo.scenario in {None, measured.scenario}
    )


def _slo_result(slo: SLO, measured: Measurement) -> SloResult:
    own = measured.of(slo.of)
    enough = own.carries(slo.metric, slo.statistic)
    return SloResult(
        slo=slo.text,
        metric=slo.metric,
        scenario=measured.scenario,
        level=measured.level.text,
        value=own.value(slo.metric, slo.statistic),
        threshold=slo.threshold,
        met=not missed(slo, worst_value(slo, [measured])),
        too_few=None if enough else own.distributions[slo.metric].count,
    )
