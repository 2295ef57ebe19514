"""Certificates, and every way to change one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import anyio
import pytest

from autotuner.benchmarks.capacity.question import CapacityQuestion
from autotuner.benchmarks.capacity.run import CapacityRun, Place
from autotuner.benchmarks.capacity.verify import digest
from autotuner.benchmarks.measuring.records import read_records, write_records
from autotuner.capacity.bounds import bounds_of
from autotuner.study.capacity.result import CapacityReport, Verification
from autotuner.study.launch import Labels
from autotuner.study.text.forms import parse_scenario, parse_slo
from autotuner.study.workload import RequestRate
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.tuning.capacity_session import CERTIFICATE, verify
from support.capacity_certificates import write_certificate
from support.virtual_levels import VirtualBenchmark, VirtualSettings

SLOS = ("p50 ttft <= 150ms",)
Json = dict[str, Any]


def found_in(folder: Path) -> CapacityReport:
    """A certificate and its records; the server has 32 slots and completes 320 requests/s."""
    slos = [parse_slo(text) for text in SLOS]
    # Prefixes keep the search from predicting misses, which takes seconds per verification and has tests of its own.
    scenario = parse_scenario("D(10,2) prefixes=2 prefix_tokens=16")
    window = make_window(folder, RequestRate(rate=1.0), scenario=scenario)
    question = CapacityQuestion(
        bounds=bounds_of(slos, 0.99), slos=slos, start=100.0, precision=1.0, max_requests=30_000
    )
    place = Place(Labels(study="s", trial=0, owner="o"), folder, "level-0")
    benchmark = VirtualBenchmark(VirtualSettings(slots=32))
    run = CapacityRun(benchmark, UrlEndpoint("http://x"), window.workload, window.scenario, question, place)
    result = anyio.run(run.measure)
    report = CapacityReport(url="http://x", slos=SLOS, results=(result,))
    write_certificate(folder, json.loads(report.model_dump_json()))
    return report


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capacity")
    found_in(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return copytree(original, tmp_path / "capacity")


def result_in(report: Json) -> Json:
    found: Json = report["results"][0]
    return found


FAILED = ("refuted", "saturated")


def decided(report: Json, *states: str) -> Json:
    """The first level with one of these verdicts."""
    wanted = states or ("certified",)
    return next(level for level in result_in(report)["levels"] if level["decision"]["state"] in wanted)


def problems(found: Verification) -> list[str]:
    return [check.problem for check in found.levels if check.problem is not None]


def test_a_certificate_holds_as_it_was_written(original: Path) -> None:
    found = verify(original)
    assert problems(found) == []
    assert found.holds
    assert {"certified", "refuted"} <= {check.state for check in found.levels}


def set_at(*path: str | int, to: Any) -> Callable[[Json], None]:
    """A change of the first certified level."""

    def change(report: Json) -> None:
        here: Any = decided(report)
        for key in path[:-1]:
            here = here[key]
        assert here[path[-1]] != to
        here[path[-1]] = to

    return change


def of_result(**fields: Any) -> Callable[[Json], None]:
    def change(report: Json) -> None:
        result = result_in(report)
        assert all(result[name] != value for name, value in fields.items())
        result.update(fields)

    return change


def of_search(**fields: Any) -> Callable[[Json], None]:
    return lambda report: result_in(report)["search"].update(fields)


def raise_the_certified_load(report: Json) -> None:
    result_in(report)["certified"] = decided(report, *FAILED)["load"]


def call_an_open_level_certified(report: Json) -> None:
    level = decided(report, "open")
    level["decision"]["state"] = level["measurement"]["decision"]["state"] = "certified"


def call_a_failed_level_open(report: Json) -> None:
    level = decided(report, *FAILED)
    for decision in (level["decision"], level["measurement"]["decision"]):
        decision.update(state="open", decided_by=None)


def loosen_the_slo(report: Json) -> None:
    report["slos"] = ["p50 ttft <= 160ms"]


def tighten_the_success_rate(report: Json) -> None:
    report["min_success_rate"] = 0.999


def loosen_the_bounds_with_the_slo(report: Json) -> None:
    loosen_the_slo(report)
    for level in result_in(report)["levels"]:
        level["plan"]["bounds"][0].update(slo="p50 ttft <= 160ms", limit=0.16)


def remove_the_first_level(report: Json) -> None:
    del result_in(report)["levels"][0]


def remove_a_level_in_the_middle(report: Json) -> None:
    levels = result_in(report)["levels"]
    del levels[len(levels) // 2]


def remove_the_last_level(report: Json) -> None:
    del result_in(report)["levels"][-1]


def repeat_a_level(report: Json) -> None:
    levels = result_in(report)["levels"]
    levels.append(levels[-1])


CHANGES = {
    "limit of a bound": set_at("plan", "bounds", 0, "limit", to=0.2),
    "share of a bound": set_at("plan", "bounds", 0, "allowed", to=0.2),
    "metric of a bound": set_at("plan", "bounds", 0, "metric", to="tpot"),
    "error rate of certifying": set_at("plan", "certify", to=0.4),
    "error rate of refuting": set_at("plan", "refute", to=0.4),
    "least dispersion": set_at("plan", "dispersions", to=[1.5, 1.5]),
    "most requests": set_at("plan", "requests", to=1_000_000),
    "time left": set_at("plan", "seconds_left", to=1.0),
    "load": set_at("load", to=100.0),
    "requests of the decision": set_at("decision", "requests", 0, to=100),
    "evidence": set_at("decision", "log_evidence_below", to=20.0),
    "figures of the curve": set_at("decision", "figures", 0, "misses", to=0.5),
    "a percentile": set_at("measurement", "distributions", "ttft", "p90", to=0.001),
    "requests of the level": set_at("measurement", "arrived", to=7),
    "records of another level": set_at("measurement", "records", to="level-0-0.parquet"),
    "confidence": of_result(confidence=0.99),
    "precision": of_result(precision=0.2),
    "refuted load": of_result(refuted=1_000.0),
    "reason": of_result(refuted_missing="SLO still met at the highest load"),
    "monotone": of_result(monotone=False),
    "precise": of_result(precise=False),
    "start": of_search(start=101.0),
    "lowest load": of_search(low=150.0),
    "budget": of_search(max_requests=29_000),
    "method": of_search(method=99),
    "certified load": raise_the_certified_load,
    "open level as certified": call_an_open_level_certified,
    "failed level as open": call_a_failed_level_open,
    "SLO": loosen_the_slo,
    "success rate": tighten_the_success_rate,
    "SLO and bounds": loosen_the_bounds_with_the_slo,
    "first level": remove_the_first_level,
    "level in the middle": remove_a_level_in_the_middle,
    "last level": remove_the_last_level,
    "level twice": repeat_a_level,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_certificate_does_not_hold(folder: Path, change: Callable[[Json], None]) -> None:
    report = json.loads((folder / CERTIFICATE).read_text())
    change(report)
    write_certificate(folder, report)
    assert not verify(folder).holds


def test_a_certificate_of_an_earlier_version_holds(folder: Path) -> None:
    report = json.loads((folder / CERTIFICATE).read_text())
    for level in result_in(report)["levels"]:
        for name in ("lagged", "tpot_lag_s"):
            del level["measurement"]["self_check"][name]
    write_certificate(folder, report)
    assert problems(verify(folder)) == []


def test_a_level_that_was_removed_without_a_trace_leaves_its_records(folder: Path) -> None:
    report = json.loads((folder / CERTIFICATE).read_text())
    last = result_in(report)["levels"].pop()
    state = last["decision"]["state"]
    assert state in ("certified", "refuted", "saturated")
    # The bracket of an interrupted search, in agreement with the levels that are left.
    end = "certified" if state == "certified" else "refuted"
    alike = [level["load"] for level in result_in(report)["levels"] if level["decision"]["state"] == state]
    load = (max if state == "certified" else min)(alike, default=None)
    missing = "budget used" if load is None else None
    result_in(report).update({end: load, f"{end}_missing": missing, "precise": False})
    write_certificate(folder, report)
    assert problems(verify(folder)) == ["belongs to no level: one was removed"]
    (folder / last["measurement"]["records"]).unlink()
    assert verify(folder).holds  # a search that was interrupted after the level before


def test_a_text_that_nothing_follows_from_is_sealed(folder: Path) -> None:
    path = folder / CERTIFICATE
    path.write_text(path.read_text().replace("http://x", "http://y"))
    assert problems(verify(folder)) == ["was changed after the measurement"]


def change_a_record(folder: Path, level: Json, column: str, place: int, by: int) -> Path:
    path: Path = folder / level["measurement"]["records"]
    records = read_records(path)
    values = list(records.columns[column])
    values[place] += by
    write_records(path, replace(records, columns={**records.columns, column: values}))
    return path


def test_a_changed_number_in_the_records_breaks_the_digest(folder: Path) -> None:
    report = json.loads((folder / CERTIFICATE).read_text())
    change_a_record(folder, decided(report), "end_ns", 7, 1)
    assert ["changed after" in one for one in problems(verify(folder))] == [True]


@pytest.mark.parametrize(("column", "by"), [("first_ns", 1_000_000), ("sent_ns", -1_000_000), ("output_tokens", 7)])
def test_a_changed_number_is_noticed_behind_a_new_digest(folder: Path, column: str, by: int) -> None:
    report = json.loads((folder / CERTIFICATE).read_text())
    for states in (("certified",), FAILED):
        level = decided(report, *states)
        level["sha256"] = digest(change_a_record(folder, level, column, 7, by))
    write_certificate(folder, report)
    assert not verify(folder).holds


def test_records_that_are_gone_prove_nothing(folder: Path) -> None:
    next(folder.glob("level-0-*.parquet")).unlink()
    assert not verify(folder).holds
