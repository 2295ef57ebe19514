"""One measurement of a server that already runs: no study, and nothing is stored."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from pydantic import ValidationError

from autotuner.benchmarks.bench import BenchReport, BenchStoppedError, slo_results
from autotuner.benchmarks.bench import bench as run_bench
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.errors import AutotunerError, UsageError
from autotuner.plugins.benchmark import Progress
from autotuner.store import files
from autotuner.study.check import CheckStatus, PreflightError
from autotuner.study.measurement import Measurement
from autotuner.study.problems import problems_of
from autotuner.study.workload import LoadLevel, Scenario
from autotuner.study_file.loader import parse_study
from autotuner.tuning.running_server import first_model, server_at, shown_url


def bench(
    url: str,
    *,
    workload: Mapping[str, Any],
    model: str | None = None,
    api_key_env: str | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
    insecure: bool = False,
    max_tokens_field: str = "max_tokens",
    slos: Sequence[str] = (),
    folder: Path | None = None,
    on_window: Callable[[str], None] | None = None,
) -> BenchReport:
    """Measures a server that runs already; ``workload`` and ``slos`` are as in a study file.

    ``model`` None asks the server for its first one. Request records go to ``folder``, or nowhere. The API key is
    taken from the environment variable that ``api_key_env`` names; ``${NAME}`` in ``headers`` and ``url`` stands for
    one too. ``ca_file`` holds certificates to trust in place of the system's; ``insecure`` checks none.

    Raises ``BenchStoppedError`` with what was measured so far, when it is interrupted or fails later on.
    """
    study = {"name": "bench", "model": "any", "engine": "llama_cpp", "workload": workload, "slo": list(slos)}
    spec = parse_study(
        {**study, "objective": "max output_throughput"}, source="bench", folder=Path.cwd(), exists=files.exists
    ).spec
    target = server_at(url, headers=headers or {}, api_key_env=api_key_env, ca_file=ca_file, insecure=insecure)
    settings = _settings(api_key_env=api_key_env, max_tokens_field=max_tokens_field)
    measured: list[Measurement] = []

    async def work(records: Path) -> None:
        checks = await NativeBenchmark(settings).preflight(spec.workload)
        failed = [c for c in checks if c.status is CheckStatus.FAIL]
        if failed:
            raise PreflightError(failed)
        served = model or await first_model(target)
        await run_bench(
            target,
            served,
            spec.workload,
            client=LocalRunner(),
            folder=records,
            slos=spec.slos,
            settings=settings,
            on_progress=_once_a_window(on_window),
            on_measured=lambda m: measured.append(m if folder else m.replaced(records=None)),
        )

    def report() -> BenchReport:
        results = slo_results(measured, spec.slos)
        return BenchReport(url=shown_url(url), measurements=tuple(measured), slos=results)

    try:
        if folder is not None:
            anyio.run(work, files.output_folder(folder))
        else:
            with TemporaryDirectory() as nowhere:
                anyio.run(work, Path(nowhere))
    except KeyboardInterrupt:
        if not measured:
            raise
        raise BenchStoppedError(report()) from None
    except AutotunerError as error:
        if not measured:
            raise
        raise BenchStoppedError(report(), error) from error
    return report()


def _settings(**given: str | None) -> NativeSettings:
    try:
        return NativeSettings.model_validate(given)
    except ValidationError as error:
        raise UsageError(problems_of(error, NativeSettings, prefix="bench")) from None


def _once_a_window(on_window: Callable[[str], None] | None) -> Callable[[Scenario, LoadLevel, Progress], None]:
    said: set[str] = set()

    def tell(scenario: Scenario, level: LoadLevel, _: Progress) -> None:
        text = f"measuring {scenario.text} {level.text} ..."
        if on_window is not None and text not in said:
            said.add(text)
            on_window(text)

    return tell
