"""Capacity of a running server, without a study, and the check of a stored certificate."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from pydantic import ValidationError

from autotuner.benchmarks.capacity.question import question_about
from autotuner.benchmarks.capacity.replays import budget_problems
from autotuner.benchmarks.capacity.run import CapacityRun, OnLevel, Place
from autotuner.benchmarks.capacity.verify import check_result
from autotuner.benchmarks.measure_url import AddressEndpoint
from autotuner.benchmarks.native import NativeBenchmark
from autotuner.capacity.bounds import bounds_of, limits_of
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.errors import AutotunerError, EnvironmentFaultError, Problem, StoppedEarlyError, UsageError
from autotuner.invalid_value import InvalidValueError
from autotuner.net.client import fetch_object
from autotuner.net.faults import CONNECT, Fault
from autotuner.net.remedies import BENCH
from autotuner.net.target import Target
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.loading import metrics_sources
from autotuner.store import files
from autotuner.store.paths import trial_folder
from autotuner.study.capacity.result import (
    CapacityLevel,
    CapacityReport,
    CapacityResult,
    LevelCheck,
    Verification,
)
from autotuner.study.check import CheckStatus, preflight_error
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.metric import CAPACITY_METRICS
from autotuner.study.objective import SLO
from autotuner.study.problems import problems_of
from autotuner.study.spec import StudySpec
from autotuner.study.text.forms import parse_slo
from autotuner.study.trial import Trial, TrialState
from autotuner.study.workload import CapacityLoad, LoadUnit, Workload
from autotuner.study_file.loader import parse_workload
from autotuner.tuning.running_server import RunningServer, shown_url
from autotuner.tuning.trials.no_answer_failure import error_remedy, errors_text

CERTIFICATE = "capacity.json"
_GONE_S = 10.0
"""How long a server may take for another answer after requests have failed; only one that refuses it is gone."""
_OWN = re.compile(r"(server-)?level-\d+-\d+\.parquet")


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
    server_metrics: bool = False,
    on_level: Callable[[CapacityLevel, LoadUnit], None] | None = None,
) -> CapacityReport:
    """Measures the capacity of a running server; see :meth:`autotuner.api.client.Autotuner.capacity`."""
    start = _start(search)
    load, level, goals = _asked(search, start, workload, slos)
    question = question_about(level, bounds_of(goals, min_success_rate), goals, start)
    target = server.target()
    of_benchmark = server.benchmark_settings()
    runs: list[CapacityRun] = []

    async def work() -> None:
        benchmark = NativeBenchmark(of_benchmark)
        failed = [c for c in await benchmark.preflight(load) if c.status is CheckStatus.FAIL]
        if failed:
            raise preflight_error(failed)
        endpoint = AddressEndpoint(target, await server.served_model(target), LocalRunner())
        labels = Labels(study="capacity", trial=0, owner="capacity")
        sources = metrics_sources() if server_metrics else ()
        _remove_earlier(files.output_folder(folder))
        for number, scenario in enumerate(load.scenarios):
            place = Place(labels, folder, f"level-{number}", endpoint.headers, sources)
            runs.append(CapacityRun(_Answered(benchmark, target), endpoint, load, scenario, question, place))
            await runs[-1].measure(_told(on_level, question.unit))

    def report() -> CapacityReport:
        results = tuple(run.result() for run in runs if run.levels)
        found = _sealed(
            CapacityReport(
                url=shown_url(server.url),
                slos=tuple(goal.text for goal in goals),
                min_success_rate=min_success_rate,
                results=results,
            )
        )
        files.write_private(folder / CERTIFICATE, found.model_dump_json(indent=1))
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


class _Answered:
    """Measures windows as long as the server answers: what failed because it is gone says nothing about its load."""

    def __init__(self, benchmark: NativeBenchmark, target: Target) -> None:
        self._benchmark = benchmark
        self._target = target

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Measures one window. Raises ``EnvironmentFaultError`` if no request succeeded, or the server has gone."""
        measured = await self._benchmark.measure(endpoint, window)
        if not measured.errors:
            return measured
        if measured.requests <= measured.failed:
            why = f"no request succeeded ({errors_text(measured)})"
            raise EnvironmentFaultError(why, remedy=error_remedy(measured, BENCH))
        found = await fetch_object(self._target, "/v1/models", timeout_s=_GONE_S)
        if isinstance(found, Fault) and found.kind == CONNECT:
            remedy = "look at the server's own log"
            raise EnvironmentFaultError(f"the server no longer answers: {found.message}", remedy=remedy)
        return measured


def verify(folder: Path) -> Verification:
    """Recomputes the certificate in a folder; see :meth:`autotuner.api.client.Autotuner.verify`."""
    path = folder / CERTIFICATE
    try:
        text = path.read_bytes()
        report = CapacityReport.model_validate_json(text)
    except OSError as error:
        why = f"holds no certificate ({CERTIFICATE}): {error.strerror}"
        remedy = "give the folder that autotuner capacity wrote to, or the name of a study"
        raise UsageError(Problem(where="FOLDER", value=str(folder), why=why, remedy=remedy)) from None
    except ValidationError as error:
        raise UsageError(problems_of(error, CapacityReport, prefix=str(path))) from None
    try:
        bounds = bounds_of([parse_slo(text) for text in report.slos], report.min_success_rate)
    except InvalidValueError as error:
        raise UsageError(Problem.refused(str(path), error)) from None
    checks = [check for result in report.results for check in check_result(result, bounds, folder)]
    if report.sha256 != seal(text):
        problem = "was changed after the measurement"
        checks.append(LevelCheck(scenario=CERTIFICATE, level="all", state="open", problem=problem))
    return Verification(holds=bool(checks) and all(check.problem is None for check in checks), levels=tuple(checks))


def searched_trials(spec: StudySpec, trials: Sequence[Trial]) -> list[Trial]:
    """The trials of a study that searched for capacities. Raises ``UsageError`` if none did."""
    searched = [trial for trial in trials if trial.capacities]
    if not searched:
        why = "searched for no capacity"
        raise UsageError.at("STUDY", why, value=spec.name, remedy="run it with load: capacity")
    return searched


def verify_study(spec: StudySpec, trials: Sequence[Trial]) -> Verification:
    """Recomputes the capacity of each trial of a study. Raises ``UsageError`` if none of them searched for one."""
    searched = searched_trials(spec, trials)
    bounds = bounds_of(limits_of(spec.slos), spec.min_success_rate, where="slo")
    checks: list[LevelCheck] = []
    for trial in searched:
        folder = trial_folder(spec.name, trial.number)
        for found in trial.capacities:
            own = [*check_result(found, bounds, folder), *_measured(trial, found)]
            checks += [check.replaced(scenario=f"trial {trial.number} {check.scenario}") for check in own]
    return Verification(holds=all(check.problem is None for check in checks), levels=tuple(checks))


def _measured(trial: Trial, found: CapacityResult) -> list[LevelCheck]:
    """Whether the value that a complete trial is ranked by is the certified load."""
    if trial.state is not TrialState.DONE:
        return []
    metric = CAPACITY_METRICS[found.unit]
    values = [m.value(metric, None) for m in trial.measurements if m.scenario == found.scenario]
    if values == [found.certified]:
        return []
    problem = f"the trial is ranked by {metric} {values[0] if values else None}, and {found.certified} is certified"
    return [LevelCheck(scenario=found.scenario, level="capacity", state="certified", problem=problem)]


def _told(on_level: Callable[[CapacityLevel, LoadUnit], None] | None, unit: LoadUnit) -> OnLevel:
    async def tell(level: CapacityLevel) -> None:
        if on_level is not None:
            on_level(level, unit)

    return tell


def _sealed(report: CapacityReport) -> CapacityReport:
    return report.replaced(sha256=seal(report.model_dump_json()))


def seal(report: str | bytes) -> str:
    """SHA-256 of a report in JSON, without its own digest."""
    content = json.loads(report)
    content.pop("sha256", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _remove_earlier(folder: Path) -> None:
    """Removes the certificate that this one replaces, and its records: a record without a level means tampering."""
    (folder / CERTIFICATE).unlink(missing_ok=True)
    for path in folder.glob("*level-*.parquet"):
        if _OWN.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _asked(
    search: Mapping[str, Any], start: float | None, workload: Mapping[str, Any], slos: Sequence[str]
) -> tuple[Workload, CapacityLoad, tuple[SLO, ...]]:
    """What is sent, what is searched for, and within which SLOs."""
    settings = {key: value for key, value in search.items() if key != "start"}
    section = {**workload, **settings, "load": "capacity"}
    found, goals = parse_workload(section, slos=slos, source="capacity", folder=Path.cwd(), exists=files.exists)
    load = next(level for level in found.levels if isinstance(level, CapacityLoad))
    for scenario in found.scenarios:
        if scenario.trace and (problems := list(budget_problems(scenario.trace, load, "capacity", start))):
            raise UsageError(problems)
    return found, load, goals


def _start(search: Mapping[str, Any]) -> float | None:
    """The first load to try; None: chosen by the search."""
    start = search.get("start")
    if start is not None and not (isinstance(start, int | float) and 0 < start < math.inf):
        raise UsageError.at("capacity.start", "must be a number above 0", value=str(start))
    return start
