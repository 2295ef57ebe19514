"""Certificates of a search whose levels are tested beside the predictions of the server's twin."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import anyio
import numpy as np
import pytest

from autotuner.benchmarks.capacity.question import CapacityQuestion, drawn_lengths
from autotuner.benchmarks.capacity.run import CapacityRun, Place
from autotuner.benchmarks.capacity.twin_steps import TwinSteps, level_input
from autotuner.benchmarks.capacity.verify import digest
from autotuner.benchmarks.measuring.records import read_records, write_records
from autotuner.capacity.bounds import bounds_of
from autotuner.capacity.search import CapacitySearch, Limits
from autotuner.study.capacity.result import CapacityReport, CapacityResult
from autotuner.study.launch import Labels
from autotuner.study.text.forms import parse_scenario, parse_slo
from autotuner.study.workload import LoadUnit, RequestRate
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.tuning.capacity_session import CERTIFICATE, verify
from support.capacity_certificates import write_certificate
from support.virtual_levels import EngineSettings, VirtualEngine

SLOS = ("p95 e2e_latency <= 2500ms",)
SCENARIO = "N(100,10)/(128,32)"
Json = dict[str, Any]


def question(**more: Any) -> CapacityQuestion:
    slos = [parse_slo(text) for text in SLOS]
    return CapacityQuestion(
        bounds=bounds_of(slos, 0.95), slos=slos, start=2.0, precision=0.3, max_requests=12_000, **more
    )


def found_in(folder: Path) -> CapacityResult:
    """The capacity of an engine with 16 slots, with its records and certificate."""
    scenario = parse_scenario(SCENARIO)
    window = make_window(folder, RequestRate(rate=1.0), scenario=scenario)
    place = Place(Labels(study="s", trial=0, owner="o"), folder, "level-0")
    engine = VirtualEngine(EngineSettings())
    run = CapacityRun(engine, UrlEndpoint("http://x"), window.workload, scenario, question(), place)
    result = anyio.run(run.measure)
    report = CapacityReport(url="http://x", slos=SLOS, min_success_rate=0.95, results=(result,))
    write_certificate(folder, json.loads(report.model_dump_json()))
    return result


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capacity")
    found_in(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return copytree(original, tmp_path / "capacity")


def report_in(folder: Path) -> Json:
    found: Json = json.loads((folder / CERTIFICATE).read_text())
    return found


def controlled(report: Json) -> list[Json]:
    """The levels that were tested beside a prediction."""
    return [level for level in report["results"][0]["levels"] if any(level["plan"]["controls"])]


def test_its_levels_are_decided_beside_predictions_and_the_certificate_holds(original: Path) -> None:
    report = report_in(original)
    assert {level["decision"]["state"] for level in controlled(report)} >= {"certified", "refuted"}
    assert report["results"][0]["precise"]
    latency, success = controlled(report)[-1]["plan"]["controls"]  # fitted to most
    assert success is None
    assert latency["slots"] == 16
    assert latency["step"] + 12 * latency["per_request"] == pytest.approx(0.01 + 12 * 0.0004, rel=0.05)
    found = verify(original)
    assert [check.problem for check in found.levels if check.problem] == []
    assert found.holds


def change_control(name: str, factor: float) -> Callable[[Json], None]:
    def change(report: Json) -> None:
        control = controlled(report)[-1]["plan"]["controls"][0]
        control[name] *= factor

    return change


def remove_controls(report: Json) -> None:
    controlled(report)[-1]["plan"]["controls"] = []


CHANGES: dict[str, Callable[[Json], None]] = {
    **{name: change_control(name, 1.01) for name in ("step", "expected")},
    "without": remove_controls,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_prediction_does_not_hold(folder: Path, change: Callable[[Json], None]) -> None:
    report = report_in(folder)
    change(report)
    write_certificate(folder, report)
    problems = [check.problem for check in verify(folder).levels if check.problem is not None]
    assert any("controls is" in one for one in problems)


def change_records(folder: Path, level: Json, column: str, by: int) -> None:
    """Changes a number of one request behind a new digest."""
    path = folder / level["measurement"]["records"]
    records = read_records(path)
    values = list(records.columns[column])
    values[7] += by
    write_records(path, replace(records, columns={**records.columns, column: values}))
    level["sha256"] = digest(path)


@pytest.mark.parametrize(
    ("place", "column", "by"), [(0, "asked_output", 40), (-1, "scheduled_ns", 300_000_000)], ids=["fitted", "tested"]
)
def test_a_changed_input_is_noticed_behind_a_new_digest(folder: Path, place: int, column: str, by: int) -> None:
    report = report_in(folder)
    change_records(folder, report["results"][0]["levels"][place], column, by)
    write_certificate(folder, report)
    assert not verify(folder).holds


def test_a_changed_file_is_named_rather_than_what_follows_from_it(folder: Path) -> None:
    report = report_in(folder)
    first = report["results"][0]["levels"][0]
    change_records(folder, dict(first), "end_ns", 1)
    problems = [check.problem for check in verify(folder).levels if check.problem is not None]
    assert problems == [f"{first['measurement']['records']} was changed after the measurement"]


def test_records_that_are_gone_are_named(folder: Path) -> None:
    first = report_in(folder)["results"][0]["levels"][0]
    (folder / first["measurement"]["records"]).unlink()
    found = verify(folder)
    assert not found.holds
    assert any("cannot read" in (check.problem or "") for check in found.levels)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (SCENARIO, True),
        ("D(100,100)", True),
        ("U(50,100)/(20,40)", True),
        (f"{SCENARIO} prefixes=4 prefix_tokens=200", False),
        ("E(64)", False),
        ("dataset:prompts.jsonl", False),
    ],
)
def test_lengths_are_known_where_each_request_draws_its_own(text: str, known: bool) -> None:
    assert (drawn_lengths(parse_scenario(text)) is not None) == known


@pytest.mark.parametrize("unit", [LoadUnit.CONCURRENCY, LoadUnit.RATE])
def test_a_search_without_poisson_arrivals_or_known_lengths_has_no_twin(original: Path, unit: LoadUnit) -> None:
    asked = question(unit=unit, lengths=None if unit is LoadUnit.RATE else drawn_lengths(parse_scenario(SCENARIO)))
    steps = TwinSteps(asked, original)
    steps.add("level-0-0.parquet")
    search = CapacitySearch(Limits(), 2.0)
    steps.prepare(search)
    assert search.predicted == ()
    assert steps.controls(2.0) == ()


def test_requests_without_an_answer_have_no_latency(folder: Path) -> None:
    path = folder / "level-0-0.parquet"
    records = read_records(path)
    errors = list(records.columns["error"])
    firsts = list(records.columns["first_ns"])
    errors[3] = "timeout"
    firsts[4] = None
    write_records(path, replace(records, columns={**records.columns, "error": errors, "first_ns": firsts}))
    found = level_input(read_records(path))
    assert np.flatnonzero(np.isnan(found.latencies)).tolist() == [3, 4]
    assert np.flatnonzero(np.isnan(found.firsts)).tolist() == [3, 4]
    assert (np.diff(found.arrivals) >= 0).all()
