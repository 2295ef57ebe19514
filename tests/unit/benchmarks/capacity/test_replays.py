"""Capacities of traces: searches over speeds on virtual time, their certificates, and every way to change one."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from shutil import copytree
from typing import Any

import anyio
import pytest

from autotuner.benchmarks.capacity.question import CapacityQuestion
from autotuner.benchmarks.capacity.replays import budget_problems
from autotuner.benchmarks.capacity.run import CapacityRun, Place
from autotuner.benchmarks.capacity.verify import digest
from autotuner.benchmarks.measuring.records import Records, read_records, write_records
from autotuner.capacity.bounds import bounds_of
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.capacity.result import CapacityReport, CapacityResult
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.text.forms import parse_scenario, parse_slo
from autotuner.study.workload import CapacityLoad, LoadUnit, TracePart, TraceSpeed
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.tuning.capacity_session import CERTIFICATE, verify
from support.capacity_certificates import write_certificate
from support.virtual_levels import VirtualBenchmark, VirtualSettings

SLOS = ("p90 ttft <= 150ms",)
REQUESTS = 200
Json = dict[str, Any]


def write_trace(file: Path, *, seed: int = 0, lengths: int = 200) -> None:
    """About ten requests per second."""
    random = Random(seed)
    at = 0.0
    with file.open("w") as lines:
        for _ in range(REQUESTS):
            lines.write(json.dumps({"timestamp": at, "input_tokens": random.randint(1, lengths), "output_tokens": 2}))
            lines.write("\n")
            at += random.expovariate(10.0)


class MostlyLimited(VirtualBenchmark):
    """A load generator that is the bottleneck of all but every third replay."""

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        found = await super().measure(endpoint, window)
        number = int(window.records_name.removesuffix(".parquet").rpartition("-")[2])
        return found if number % 3 == 2 else found.replaced(self_check=SelfCheck(client_limited=True))


def searched(
    folder: Path, trace: Path, kind: type[VirtualBenchmark] = VirtualBenchmark, **question: Any
) -> CapacityResult:
    """A server with 8 slots of 100 ms, which completes 80 requests/s: eight times the trace's rate."""
    slos = [parse_slo(text) for text in SLOS]
    window = make_window(folder, TraceSpeed())
    scenario = parse_scenario(f"trace:{trace}")
    asked = CapacityQuestion(
        **{
            "bounds": bounds_of(slos, 0.99),
            "slos": slos,
            "unit": LoadUnit.SPEED,
            "confidence": None,
            "precision": 0.5,
            **question,
        }
    )
    place = Place(Labels(study="s", trial=0, owner="o"), folder, "level-0")
    benchmark = kind(VirtualSettings(slots=8))
    run = CapacityRun(benchmark, UrlEndpoint("http://x"), window.workload, scenario, asked, place)
    return anyio.run(run.measure)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capacity")
    trace = folder / "trace.jsonl"
    write_trace(trace)
    report = CapacityReport(url="http://x", slos=SLOS, results=(searched(folder, trace),))
    write_certificate(folder, json.loads(report.model_dump_json()))
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy; the trace is read where it was measured."""
    return copytree(original, tmp_path / "capacity")


def report_in(folder: Path) -> Json:
    found: Json = json.loads((folder / CERTIFICATE).read_text())
    return found


def levels_in(report: Json) -> list[Json]:
    found: list[Json] = report["results"][0]["levels"]
    return found


def test_the_capacity_is_a_speed_in_a_precise_bracket_and_verifies(folder: Path) -> None:
    result = CapacityResult.model_validate(report_in(folder)["results"][0])
    assert result.certified is not None
    assert result.refuted is not None
    assert 2 < result.certified < result.refuted < 10
    assert (result.precise, result.confidence) == (True, None)
    by_state = {level.decision.state: level for level in result.levels}
    assert by_state.keys() == {"certified", "refuted"}
    for level in result.levels:
        assert (level.measurement.arrived == REQUESTS) or level.decision.state == "refuted"
    far = max(result.levels, key=lambda level: level.load)
    assert far.measurement.arrived < REQUESTS / 2
    found = verify(folder)
    assert found.holds, found.levels
    assert [check.state for check in found.levels if check.level == "trace"] == ["unchanged"]


def test_a_certificate_without_its_trace_is_checked_level_against_level(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    write_trace(trace)
    report = CapacityReport(url="http://x", slos=SLOS, results=(searched(tmp_path, trace, start=4.0),))
    write_certificate(tmp_path, json.loads(report.model_dump_json()))
    trace.rename(tmp_path / "elsewhere.jsonl")
    found = verify(tmp_path)
    assert found.holds, found.levels
    assert ["no such file" in check.state for check in found.levels if check.level == "trace"] == [True]
    write_trace(trace, seed=1)
    assert [check.level for check in verify(tmp_path).levels if check.problem] == ["trace"]
    changed_level(tmp_path, "certified", later)
    trace.unlink()
    problems = [check for check in verify(tmp_path).levels if check.problem]
    assert len(problems) in (1, len(levels_in(report_in(tmp_path))) - 1)  # that one, or it is the one to compare with


def changed_level(folder: Path, state: str, change: Callable[[dict[str, list[Any]]], None]) -> None:
    """Changes the records of the first level with a verdict, and what follows from them as far as a digest."""
    report = report_in(folder)
    level = next(one for one in levels_in(report) if one["decision"]["state"] == state)
    path = folder / level["measurement"]["records"]
    records = read_records(path)
    columns = {name: list(values) for name, values in records.columns.items()}
    change(columns)
    write_records(path, Records(**{**vars(records), "columns": columns}))
    level["sha256"] = digest(path)
    write_certificate(folder, report)


def later(columns: dict[str, list[Any]]) -> None:
    """Shifts a whole request, which changes no latency."""
    for name in ("scheduled_ns", "sent_ns", "first_ns", "end_ns"):
        columns[name][7] += 1_000


def longer(columns: dict[str, list[Any]]) -> None:
    columns["asked_input"][7] += 1


def removed(columns: dict[str, list[Any]]) -> None:
    for values in columns.values():
        del values[7]


def faster(columns: dict[str, list[Any]]) -> None:
    columns["first_ns"][7] -= 1_000


@pytest.mark.parametrize("change", [later, longer, removed, faster])
@pytest.mark.parametrize("state", ["certified", "refuted"])
def test_changed_records_are_noticed_behind_a_new_digest(
    folder: Path, state: str, change: Callable[[dict[str, list[Any]]], None]
) -> None:
    changed_level(folder, state, change)
    assert not verify(folder).holds


def never_due(columns: dict[str, list[Any]]) -> None:
    columns["scheduled_ns"][7] = None


@pytest.mark.parametrize("with_trace", [True, False])
@pytest.mark.parametrize("state", ["certified", "refuted"])
def test_records_without_a_time_are_a_problem_of_their_level(folder: Path, state: str, *, with_trace: bool) -> None:
    changed_level(folder, state, never_due)
    if not with_trace:
        report = report_in(folder)
        report["results"][0]["search"]["trace"]["part"]["file"] = str(folder / "elsewhere.jsonl")
        write_certificate(folder, report)
    found = verify(folder)
    assert {check.state for check in found.levels if check.problem} >= {state}


def set_at(*path: str | int, to: Any) -> Callable[[Json], None]:
    def change(result: Json) -> None:
        place: Any = result
        for key in path[:-1]:
            place = place[key]
        assert place[path[-1]] != to
        place[path[-1]] = to

    return change


def shrink_all(result: Json) -> None:
    """Pretends that the trace had fewer requests, wherever that is said."""
    result["search"]["trace"]["requests"] = 150
    for level in result["levels"]:
        level["plan"]["replayed"] = level["plan"]["requests"] = 150


def of_another_trace(result: Json) -> None:
    result["search"]["trace"]["part"]["end_s"] = 10.0


CHANGES: dict[str, Callable[[Json], None]] = {
    "size of the trace": set_at("search", "trace", "requests", to=150),
    "size of every level": shrink_all,
    "length of the trace": set_at("search", "trace", "span_s", to=1.0),
    "digest of the trace": set_at("search", "trace", "sha256", to="0" * 64),
    "part of the trace": of_another_trace,
    "no trace": set_at("search", "trace", to=None),
    "size of a level": set_at("levels", 0, "plan", "replayed", to=150),
    "kind of a level": set_at("levels", 0, "plan", "replayed", to=None),
    "speed of a level": set_at("levels", 0, "load", to=1.5),
    "verdict": set_at("levels", 0, "decision", "state", to="refuted"),
    "requests of the verdict": set_at("levels", 0, "decision", "requests", to=[150, 150]),
    "misses": set_at("levels", 0, "decision", "figures", 0, "misses", to=17.0),
    "bound": set_at("levels", 0, "plan", "bounds", 0, "limit", to=9.0),
    "unit": set_at("unit", to="rate"),
    "confidence that a replay does not have": set_at("confidence", to=0.95),
    "precision": set_at("precision", to=0.1),
    "certified speed": set_at("certified", to=9.0),
    "refuted speed": set_at("refuted", to=99.0),
    "method": set_at("search", "method", to=99),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_certificate_does_not_hold(folder: Path, change: Callable[[Json], None]) -> None:
    report = report_in(folder)
    change(report["results"][0])
    write_certificate(folder, report)
    assert not verify(folder).holds


def test_a_configuration_that_cannot_hold_the_required_speed_is_cut(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    write_trace(trace)
    found = searched(tmp_path, trace, start=64.0, required=64.0)
    assert [level.load for level in found.levels] == [64.0, 64.0]
    assert (found.cut, found.certified, found.refuted) == (True, None, 64.0)
    assert found.requests < REQUESTS / 2


def test_replays_that_the_load_generator_limited_use_the_budget(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    write_trace(trace)
    found = searched(tmp_path, trace, MostlyLimited, max_requests=4 * REQUESTS)
    limited = [level for level in found.levels if level.measurement.self_check.client_limited]
    assert len(limited) >= 2
    assert found.requests <= 4 * REQUESTS
    assert found.refuted_missing == "budget used"


@pytest.mark.parametrize(
    ("load", "fields"),
    [
        (CapacityLoad(unit=LoadUnit.SPEED), []),
        (CapacityLoad(unit=LoadUnit.SPEED, max_requests=REQUESTS - 1), ["workload.max_requests"]),
        (CapacityLoad(unit=LoadUnit.SPEED, max_duration_s=10.0), ["workload.max_duration"]),
        (CapacityLoad(unit=LoadUnit.SPEED, max_duration_s=10.0, low=100.0), []),
        (
            CapacityLoad(unit=LoadUnit.SPEED, max_requests=100, max_duration_s=1.0, high=0.5),
            ["workload.max_requests", "workload.max_duration"],
        ),
    ],
)
def test_budgets_below_one_replay_are_refused(tmp_path: Path, load: CapacityLoad, fields: list[str]) -> None:
    trace = tmp_path / "trace.jsonl"
    write_trace(trace)
    problems = list(budget_problems(TracePart(file=str(trace)), load, "workload"))
    assert [problem.where for problem in problems] == fields


@pytest.mark.parametrize(
    ("start", "low", "fields"),
    [(4.0, None, []), (0.1, None, ["capacity.max_duration"]), (0.1, 4.0, []), (None, None, ["capacity.max_duration"])],
)
def test_the_time_of_one_replay_is_that_at_the_first_speed(
    tmp_path: Path, start: float | None, low: float | None, fields: list[str]
) -> None:
    trace = tmp_path / "trace.jsonl"
    write_trace(trace)
    load = CapacityLoad(unit=LoadUnit.SPEED, max_duration_s=10.0, low=low)
    problems = list(budget_problems(TracePart(file=str(trace)), load, "capacity", start))
    assert [problem.where for problem in problems] == fields
