"""Measures a URL without a trial: what ``autotuner bench URL`` does."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio

from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.errors import AutotunerError
from autotuner.net.target import Target
from autotuner.plugins.benchmark import Progress, Window
from autotuner.plugins.deployer import CommandRunner, Endpoint
from autotuner.scoring.slo import missed, worst_value
from autotuner.study.base import Noun
from autotuner.study.failure import Failure
from autotuner.study.launch import Identity, Labels
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS
from autotuner.study.objective import SLO
from autotuner.study.workload import LoadLevel, Scenario, Workload

OnProgress = Callable[[Scenario, LoadLevel, Progress], None]
OnMeasured = Callable[[Measurement], None]


class SloResult(Noun):
    """One SLO at one scenario and level, in the metric's own unit."""

    slo: str
    metric: str
    scenario: str
    level: str
    value: float | None
    """None where it is unknown: no request succeeded, or the percentile falls among requests that did not end."""
    threshold: float
    met: bool
    """An unknown value meets no SLO, nor does a latency of an overloaded window."""
    too_few: int | None = None
    """Requests of a percentile that they cannot carry; None where there are enough."""


class BenchReport(Noun):
    """What ``bench`` measured: one measurement per scenario and level, and how the SLOs came out."""

    url: str
    """As it was given, without user, password and query."""
    measurements: tuple[Measurement, ...] = ()
    slos: tuple[SloResult, ...] = ()


class BenchStoppedError(AutotunerError):
    """Some windows were measured before an interrupt or an error."""

    def __init__(self, report: BenchReport, error: AutotunerError | None = None) -> None:
        self.report = report
        """What was measured before."""
        self.error = error
        """What ended it; None for an interrupt."""
        if error is None:
            super().__init__("interrupted")
        else:
            super().__init__(error.message, remedy=error.remedy, details=error.details)

    def __str__(self) -> str:
        return str(self.error or self.message)


class AddressEndpoint(Endpoint):
    """A server of which only the address is known."""

    def __init__(self, target: Target, model: str, client: CommandRunner) -> None:
        self.url = target.base
        self.access = target.access
        self._headers = target.headers
        self.model = model
        self.argv = ()
        self.client = client

    @property
    def headers(self) -> Mapping[str, str]:
        """Credentials and further headers."""
        return self._headers

    async def identity(self) -> Identity:
        """The address is all there is."""
        return Identity(kind="external", id=self.url)

    async def died(self) -> Failure:
        """Never: nobody here watches that server."""
        await anyio.sleep_forever()
        raise AssertionError

    async def log_tail(self, lines: int = 40) -> str:
        """There is none."""
        return ""

    def pids(self) -> frozenset[int]:
        """Unknown."""
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
    on_progress: OnProgress = lambda _scenario, _level, _progress: None,
    on_measured: OnMeasured = lambda _: None,
) -> list[Measurement]:
    """Every scenario at every level, in order; records go to ``folder`` as ``records-0-0.parquet`` and on.

    ``on_measured`` gets each measurement as soon as its window has ended. Raises
    :class:`~autotuner.errors.UsageError` for unusable files and
    :class:`~autotuner.study.failure.TrialFailedError` when the load generator itself fails.
    """
    endpoint = AddressEndpoint(target, model, client)
    benchmark = NativeBenchmark(settings or NativeSettings())
    found = []
    for number, scenario in enumerate(workload.scenarios):
        for place, level in enumerate(workload.levels):

            def tell(progress: Progress, scenario: Scenario = scenario, level: LoadLevel = level) -> None:
                on_progress(scenario, level, progress)

            window = Window(
                scenario=scenario,
                level=level,
                workload=workload,
                labels=Labels(study="bench", trial=0, owner="bench"),
                folder=folder,
                records_name=f"records-{number}-{place}.parquet",
                slos=slos,
                headers=endpoint.headers,
                on_progress=tell,
            )
            found.append(await benchmark.measure(endpoint, window))
            on_measured(found[-1])
    return found


def slo_results(measurements: Sequence[Measurement], slos: Sequence[SLO]) -> tuple[SloResult, ...]:
    """Each SLO at each place that it is about. Bounds on single requests (no statistic) show in ``goodput`` only."""
    return tuple(
        _slo_result(slo, measured)
        for slo in slos
        for measured in measurements
        if (slo.statistic is not None or not METRICS[slo.metric].distribution)
        and slo.at in {None, measured.level.text}
        and slo.scenario in {None, measured.scenario}
    )


def _slo_result(slo: SLO, measured: Measurement) -> SloResult:
    enough = measured.carries(slo.metric, slo.statistic)
    return SloResult(
        slo=slo.text,
        metric=slo.metric,
        scenario=measured.scenario,
        level=measured.level.text,
        value=measured.value(slo.metric, slo.statistic),
        threshold=slo.threshold,
        met=not missed(slo, worst_value(slo, [measured])),
        too_few=None if enough else measured.distributions[slo.metric].count,
    )
