"""One-off benchmark of a running server, without a study and without storing anything."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from pydantic import ValidationError

from autotuner.benchmarks.measure_url import BenchReport, BenchStoppedError, slo_results
from autotuner.benchmarks.measure_url import bench as run_bench
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.errors import AutotunerError, Problem, UsageError
from autotuner.net.target import parse_header
from autotuner.plugins.benchmark import Progress
from autotuner.plugins.loading import metrics_sources
from autotuner.store import files
from autotuner.study.check import CheckStatus, PreflightError
from autotuner.study.measurement import Measurement
from autotuner.study.problems import problems_of
from autotuner.study.workload import LoadLevel, Scenario
from autotuner.study_file.loader import parse_workload
from autotuner.tuning.running_server import first_model, server_at, shown_url


def bench(
    url: str,
    *,
    workload: Mapping[str, Any],
    model: str | None = None,
    api_key_env: str | None = None,
    headers: Mapping[str, str] | Sequence[str] = (),
    ca_file: str | None = None,
    insecure: bool = False,
    max_tokens_field: str = "max_tokens",
    slos: Sequence[str] = (),
    folder: Path | None = None,
    server_metrics: bool = False,
    on_window: Callable[[str], None] | None = None,
) -> BenchReport:
    """Measures a running server; see :meth:`autotuner.api.client.Autotuner.bench` for the arguments."""
    load, bounds = parse_workload(workload, slos=slos, source="bench", folder=Path.cwd(), exists=files.exists)
    target = server_at(url, headers=headers_of(headers), api_key_env=api_key_env, ca_file=ca_file, insecure=insecure)
    settings = settings_of(api_key_env=api_key_env, max_tokens_field=max_tokens_field)
    measured: list[Measurement] = []

    async def work(records: Path) -> None:
        checks = await NativeBenchmark(settings).preflight(load)
        failed = [c for c in checks if c.status is CheckStatus.FAIL]
        if failed:
            raise PreflightError(failed)
        served = model or await first_model(target)
        await run_bench(
            target,
            served,
            load,
            client=LocalRunner(),
            folder=records,
            slos=bounds,
            settings=settings,
            server_metrics=metrics_sources() if server_metrics else (),
            on_progress=_once_a_window(on_window),
            on_measured=lambda m: measured.append(m if folder else _without_files(m)),
        )

    def report() -> BenchReport:
        results = slo_results(measured, bounds)
        return BenchReport(url=shown_url(url), measurements=tuple(measured), slos=results)

    try:
        if folder is not None:
            anyio.run(work, files.output_folder(folder))
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
    return measured.replaced(records=None, server=server)


def settings_of(**given: str | None) -> NativeSettings:
    try:
        return NativeSettings.model_validate(given)
    except ValidationError as error:
        raise UsageError(problems_of(error, NativeSettings, prefix="bench")) from None


def headers_of(given: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    if isinstance(given, Mapping):
        return dict(given)
    try:
        return dict(parse_header(text) for text in given)
    except ValueError as error:
        raise UsageError(Problem.refused("--header", error)) from None


def _once_a_window(on_window: Callable[[str], None] | None) -> Callable[[Scenario, LoadLevel, Progress], None]:
    reported: set[str] = set()

    def report(scenario: Scenario, level: LoadLevel, _: Progress) -> None:
        text = f"measuring {scenario.text} {level.text} ..."
        if on_window is not None and text not in reported:
            reported.add(text)
            on_window(text)

    return report
