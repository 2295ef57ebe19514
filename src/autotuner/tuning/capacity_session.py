"""Capacity of a running server, without a study, and the check of a stored certificate."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from pydantic import ValidationError

from autotuner.benchmarks.capacity.run import CapacityQuestion, CapacityRun, Place, verify_level
from autotuner.benchmarks.measure_url import AddressEndpoint
from autotuner.benchmarks.native import NativeBenchmark
from autotuner.capacity.bounds import bounds_of
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.errors import AutotunerError, Problem, StoppedEarlyError, UsageError
from autotuner.store import files
from autotuner.study.capacity.level_test import CapacityBound
from autotuner.study.capacity.result import (
    CapacityLevel,
    CapacityReport,
    CapacityResult,
    CapacitySettings,
    LevelCheck,
    LoadUnit,
    Verification,
    load_text,
)
from autotuner.study.check import CheckStatus, PreflightError
from autotuner.study.launch import Labels
from autotuner.study.objective import SLO
from autotuner.study.problems import problems_of
from autotuner.study_file.loader import parse_workload
from autotuner.tuning.running_server import RunningServer, shown_url

CERTIFICATE = "capacity.json"


class CapacityStoppedError(StoppedEarlyError[CapacityReport]):
    """A search stopped by an interrupt or an error after some levels; ``report`` has the finished ones."""


def capacity(
    server: RunningServer,
    *,
    workload: Mapping[str, Any],
    slos: Sequence[str],
    folder: Path,
    search: Mapping[str, Any],
    min_success_rate: float = 0.99,
    on_level: Callable[[CapacityLevel, LoadUnit], None] | None = None,
) -> CapacityReport:
    """Measures the capacity of a running server; see :meth:`autotuner.api.client.Autotuner.capacity`."""
    load, goals = parse_workload(
        {**workload, "concurrency": 1}, slos=slos, source="capacity", folder=Path.cwd(), exists=files.exists
    )
    question = _question(search, bounds_of(goals, min_success_rate), goals)
    target = server.target()
    settings = server.benchmark_settings()
    records = files.output_folder(folder)
    runs: list[CapacityRun] = []

    async def work() -> None:
        benchmark = NativeBenchmark(settings)
        failed = [c for c in await benchmark.preflight(load) if c.status is CheckStatus.FAIL]
        if failed:
            raise PreflightError(failed)
        endpoint = AddressEndpoint(target, await server.served_model(target), LocalRunner())
        labels = Labels(study="capacity", trial=0, owner="capacity")
        for number, scenario in enumerate(load.scenarios):
            place = Place(labels, records, f"level-{number}", endpoint.headers)
            runs.append(CapacityRun(benchmark, endpoint, load, scenario, question, place))
            await runs[-1].measure(lambda level: on_level(level, question.unit) if on_level else None)

    def report() -> CapacityReport:
        results = tuple(run.result() for run in runs if run.levels)
        found = CapacityReport(url=shown_url(server.url), slos=tuple(goal.text for goal in goals), results=results)
        files.write_private(records / CERTIFICATE, found.model_dump_json(indent=1))
        return found

    try:
        anyio.run(work)
    except KeyboardInterrupt:
        if not any(run.levels for run in runs):
            raise
        raise CapacityStoppedError(report()) from None
    except AutotunerError as error:
        if not any(run.levels for run in runs):
            raise
        raise CapacityStoppedError(report(), error) from error
    return report()


def verify(folder: Path) -> Verification:
    """Recomputes the certificate in a folder; see :meth:`autotuner.api.client.Autotuner.verify`."""
    path = folder / CERTIFICATE
    try:
        report = CapacityReport.model_validate_json(path.read_bytes())
    except OSError as error:
        why = f"holds no certificate ({CERTIFICATE}): {error.strerror}"
        remedy = "give the folder that autotuner capacity wrote to"
        raise UsageError(Problem(where="FOLDER", value=str(folder), why=why, remedy=remedy)) from None
    except ValidationError as error:
        raise UsageError(problems_of(error, CapacityReport, prefix=str(path))) from None
    checks = []
    for result in report.results:
        for level in result.levels:
            problem = verify_level(level, folder)
            state = level.decision.state
            text = level.measurement.level.text
            checks.append(LevelCheck(scenario=result.scenario, level=text, state=state, problem=problem))
        checks += _bracket(result)
    return Verification(holds=bool(checks) and all(check.problem is None for check in checks), levels=tuple(checks))


def _bracket(result: CapacityResult) -> list[LevelCheck]:
    """Whether the ends of the bracket are levels that were decided that way."""
    ends = ((result.certified, ("certified",)), (result.refuted, ("refuted", "saturated")))
    found = []
    for load, states in ends:
        if load is None:
            continue
        known = any(one.load == load and one.decision.state in states for one in result.levels)
        problem = None if known else f"no level of this load is {states[0]}"
        text = load_text(result.unit, load)
        found.append(LevelCheck(scenario=result.scenario, level=text, state=states[0], problem=problem))
    return found


def _question(search: Mapping[str, Any], bounds: tuple[CapacityBound, ...], slos: Sequence[SLO]) -> CapacityQuestion:
    try:
        settings = CapacitySettings.model_validate(search)
    except ValidationError as error:
        raise UsageError(problems_of(error, CapacitySettings, prefix="capacity")) from None
    return CapacityQuestion(
        bounds=bounds,
        slos=slos,
        unit=settings.unit,
        precision=settings.precision,
        confidence=settings.confidence,
        start=settings.start or (1.0 if settings.unit is LoadUnit.RATE else 4.0),
        low=settings.low or (0.0 if settings.unit is LoadUnit.RATE else 1.0),
        high=settings.high or float("inf"),
        max_requests=settings.max_requests,
        max_duration_s=settings.max_duration,
    )
