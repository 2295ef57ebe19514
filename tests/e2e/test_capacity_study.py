"""A study of capacity on the simulated SGLang: a configuration that cannot hold the load of the default is dropped."""

import csv
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.api.reports import page_data
from autotuner.benchmarks.measuring.records import read_records, write_records
from autotuner.report.result import StudyResult
from autotuner.store.paths import trial_folder
from autotuner.study.trial import TrialState
from autotuner.testing.relaxed_settings import CALM_BENCHMARK

pytestmark = pytest.mark.real

STUDY: dict[str, Any] = {
    "name": "capacity",
    "model": "Qwen/Qwen3-8B",
    "engine": {"kind": "simulated", "flavor": "sglang", "gpu": "RTX-4090", "args": {"context-length": 2048}},
    "benchmark": CALM_BENCHMARK,
    "parameters": {"max-running-requests": [1]},
    # One request takes half a second, so that one at a time answers two per second; twenty are nothing for the default.
    "workload": {
        "scenarios": "D(100,24)",
        "load": "capacity",
        "high": 20,
        "precision": "50%",
        "confidence": "80%",
        "warmup": "0s",
        "max_duration": "60s",
    },
    "objective": "max capacity",
    "slo": "p75 ttft <= 3s",
    "min_success_rate": 0.8,
    "search": {"strategy": "grid", "trials": 2},
    "confirm": {"repeats": 0},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudyResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNER_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("AUTOTUNER_STORE", raising=False)
        yield autotuner.tune(STUDY)


def test_the_default_is_certified_at_the_highest_load(result: StudyResult) -> None:
    trial = result.trials[0]
    (found,) = trial.capacities
    assert (found.certified, found.refuted) == (20.0, None)
    assert trial.verdict is not None
    assert trial.verdict.objectives == (20.0,)
    assert trial.measurements[0].value("capacity_tokens", None) is not None


def test_a_configuration_that_cannot_hold_it_is_dropped_after_few_requests(result: StudyResult) -> None:
    trial = result.trials[1]
    (found,) = trial.capacities
    assert (found.cut, found.refuted, trial.measurements[0].bounds) == (True, 20.0, {"capacity": 20.0})
    assert found.requests < 700
    assert trial.verdict is not None
    assert (trial.verdict.cut, trial.verdict.objectives, trial.verdict.bounds) == (True, (None,), (20.0,))


def test_the_curve_is_in_every_output(result: StudyResult, tmp_path: Path) -> None:
    levels = [level for trial in result.trials for found in trial.capacities for level in found.levels]
    text = autotuner.export_result(result, "csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["decision"] for row in rows if row["level"] != "capacity"] == [one.decision.state for one in levels]
    data = page_data(None, result)["answers"]["details"]
    assert sum(len(found["levels"]) for row in data["trials"] for found in row["capacities"]) == len(levels)


def test_the_capacities_follow_from_the_records_and_a_changed_record_is_noticed(
    result: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("capacity").mkdir()  # a folder of the study's name, without a certificate
    found = autotuner.verify_capacity("capacity")
    assert found.holds, [check for check in found.levels if check.problem]
    name = result.trials[0].capacities[0].levels[-1].measurement.records
    path = trial_folder("capacity", 0) / str(name)
    kept = path.with_suffix(".kept")
    shutil.copy(path, kept)
    path.chmod(0o600)
    try:
        records = read_records(path)
        ends = [end + (i == 7) for i, end in enumerate(records.columns["end_ns"])]
        write_records(path, records.__class__(**{**vars(records), "columns": {**records.columns, "end_ns": ends}}))
        assert [check.problem is None for check in autotuner.verify_capacity("capacity").levels].count(False) == 1
    finally:
        shutil.move(kept, path)


def test_a_study_that_is_stopped_keeps_the_levels_of_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    workload = {**STUDY["workload"], "high": None, "precision": "1%", "confidence": "99.9%", "max_duration": "10m"}
    study = {**STUDY, "name": "stopped", "workload": workload}
    second = trial_folder("stopped", 0) / "records-0-0-1.parquet"

    def stop() -> None:
        until = time.monotonic() + 120
        while not second.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert autotuner.stop_study("stopped")

    stopping = threading.Thread(target=stop)
    stopping.start()
    trial = autotuner.tune(study).trials[0]
    stopping.join()
    (found,) = trial.capacities
    assert (trial.state, trial.measurements) == (TrialState.VOID, ())
    assert found.levels
    assert autotuner.verify_capacity("stopped").holds
