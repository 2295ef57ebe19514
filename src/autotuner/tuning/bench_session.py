"""One-off benchmark of a running server, without a study and without storing anything."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from autotuner.benchmarks.measure_url import BenchReport, BenchStoppedError, slo_results
from autotuner.benchmarks.measure_url import bench as run_bench
from autotuner.benchmarks.native import NativeBenchmark
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.errors import AutotunerError
from autotuner.plugins.benchmark import Progress
from autotuner.plugins.loading import metrics_sources
from autotuner.store import files
from autotuner.study.check import CheckStatus, preflight_error
from autotuner.study.measurement import Measurement
from autotuner.study.workload import LoadLevel, Scenario
from autotuner.study_file.loader import parse_workload
from autotuner.tuning.running_server import RunningServer, shown_url


def bench(
    server: RunningServer,
    *,
    workload: Mapping[str, Any],
    slos: Sequence[str] = (),
    folder: Path | None = None,
    server_metrics: bool = False,
    on_window: Callable[[str], None] | None = None,
) -> BenchReport:
    """Measures a running server; see :meth:`autotuner.api.client.Autotuner.bench` for the arguments."""
    load, bounds = parse_workload(workload, slos=slos, source="bench", folder=Path.cwd(), exists=files.exists)
    target = server.target()
    settings = server.benchmark_settings()
    measured: list[Measurement] = []

    async def work(records: Path) -> None:
        checks = await NativeBenchmark(settings).preflight(load)
        failed = [c for c in checks if c.status is CheckStatus.FAIL]
        if failed:
            raise preflight_error(failed)
        await run_bench(
            target,
            await server.served_model(target),
            load,
            client=LocalRunner(),
            folder=files.output_folder(records),
            slos=bounds,
            settings=settings,
            server_metrics=metrics_sources() if server_metrics else (),
            on_progress=_once_a_window(on_window),
            on_repeat=_repeated(on_window),
            on_measured=lambda m: measured.append(m if folder else _without_files(m)),
        )

    def report() -> BenchReport:
        results = slo_results(measured, bounds)
        return BenchReport(url=shown_url(server.url), measurements=tuple(measured), slos=results)

    try:
        if folder is not None:
            anyio.run(work, folder)
        else:
            with TemporaryDirectory() as temporary:
                anyio.run(work, Path(temporary))
    except KeyboardInterrupt:
        if not measured:
            raise
        raise BenchStoppedError(report()) from None
    except AutotunerError as error:
        if not measured:
            raise
        raise BenchStoppedError(report(), error) from error
    return report()


def _without_files(measured: Measurement) -> Measurement:
    """Returns a measurement without the names of files that are not kept."""
    server = None if measured.server is None else measured.server.replaced(file=None)
    others = tuple(one.replaced(records=None) for one in measured.set_aside)
    return measured.replaced(records=None, server=server, set_aside=others)


def _repeated(on_window: Callable[[str], None] | None) -> Callable[[Scenario, LoadLevel, str], None]:
    def report(scenario: Scenario, level: LoadLevel, why: str) -> None:
        if on_window is not None:
            on_window(f"measuring {scenario.text} {level.text} again: {why} ...")

    return report


def _once_a_window(on_window: Callable[[str], None] | None) -> Callable[[Scenario, LoadLevel, Progress], None]:
    reported: set[str] = set()

    def report(scenario: Scenario, level: LoadLevel, _: Progress) -> None:
        text = f"measuring {scenario.text} {level.text} ..."
        if on_window is not None and text not in reported:
            reported.add(text)
            on_window(text)

    return report
