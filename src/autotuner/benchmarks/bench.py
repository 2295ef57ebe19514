"""Measures a URL without a trial: what ``autotuner bench URL`` does."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.seams.benchmark import Progress, Window
from autotuner.seams.deployer import CommandRunner, Endpoint
from autotuner.study.failure import Failure
from autotuner.study.launch import Identity, Labels
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO
from autotuner.study.workload import LoadLevel, Scenario, Workload

OnProgress = Callable[[Scenario, LoadLevel, Progress], None]


class AddressEndpoint(Endpoint):
    """A server of which only the address is known."""

    def __init__(self, url: str, model: str, client: CommandRunner) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.model = model
        self.argv = ()
        self.client = client

    async def identity(self) -> Identity:
        """The address is all there is."""
        return Identity(kind="external", id=self.url)

    async def died(self) -> Failure:
        """Never: nobody here watches that server."""
        await asyncio.Event().wait()
        raise AssertionError

    async def log_tail(self, lines: int = 40) -> str:
        """There is none."""
        return ""

    def pids(self) -> frozenset[int]:
        """Unknown."""
        return frozenset()


async def bench(
    url: str,
    model: str,
    workload: Workload,
    *,
    client: CommandRunner,
    folder: Path,
    headers: Mapping[str, str] | None = None,
    slos: Sequence[SLO] = (),
    settings: NativeSettings | None = None,
    on_progress: OnProgress = lambda _scenario, _level, _progress: None,
) -> list[Measurement]:
    """Every scenario at every level, in order; records go to ``folder`` as ``records-0-0.parquet`` and on.

    ``url`` may end in ``/v1``. Raises :class:`~autotuner.study.errors.UsageError` for unusable files and
    :class:`~autotuner.study.failure.TrialFailedError` when the load generator itself fails.
    """
    endpoint, benchmark = AddressEndpoint(url, model, client), NativeBenchmark(settings or NativeSettings())
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
                headers=headers,
                on_progress=tell,
            )
            found.append(await benchmark.measure(endpoint, window))
    return found
