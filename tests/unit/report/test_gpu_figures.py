"""GPUs, their sensors and the energy per token in every output."""

import csv
import io
import json
from typing import Any

import pytest

from autotuner.cli.study_page import study_text
from autotuner.report.exports import best_json, export_text
from autotuner.report.gpu_figures import TITLES, gpu_cells, gpu_figures, known_columns
from autotuner.report.result import StudyResult, study_result
from autotuner.study.configuration import DEFAULT
from autotuner.study.measurement import GpuUse, Measurement
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency
from autotuner.testing.samples import SampleKind, sample_study
from support.web.reports import evidence_of, report_text


def result_of(kind: SampleKind) -> StudyResult:
    sample = sample_study(kind)
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


def trial(*windows: Measurement, gpus: int = 2) -> Trial:
    return Trial(
        study="s",
        number=3,
        role=TrialRole.SEARCH,
        configuration=DEFAULT,
        state=TrialState.DONE,
        measurements=windows,
        gpus=gpus,
    )


def window(rate: float, seconds: float, **use: Any) -> Measurement:
    return Measurement(
        scenario="D(8,8)",
        level=Concurrency(in_flight=1),
        window_s=seconds,
        requests=1,
        failed=0,
        scalars={"output_throughput": rate, "output_throughput_per_gpu": rate / 2},
        gpu_use=GpuUse(samples=4, **use) if use else None,
    )


def test_windows_of_a_trial_are_combined() -> None:
    found = gpu_figures(
        trial(
            window(
                100, 10, utilization=0.5, memory_gb=60, power_w=400, temperature_c=70, clock_mhz=1000, energy_j=4000
            ),
            window(
                400, 30, utilization=0.9, memory_gb=62, power_w=800, temperature_c=60, clock_mhz=2000, energy_j=9000
            ),
        )
    )
    assert found is not None
    assert found.throughput_per_gpu == pytest.approx(100), "the geometric mean of 50 and 200"
    assert found.energy_per_token == pytest.approx(13000 / (100 * 10 + 400 * 30))
    assert (found.utilization, found.power_w, found.clock_mhz) == (pytest.approx(0.8), 700, 1750)
    assert (found.memory_gb, found.temperature_c) == (62, 70)


def test_unknown_figures_stay_unknown() -> None:
    assert gpu_figures(trial(gpus=0)) is None
    assert gpu_cells(trial(gpus=0)) == ("-",) * len(TITLES)
    assert gpu_cells(trial(gpus=4)) == ("4", *("-",) * (len(TITLES) - 1))
    half = trial(window(100, 10, power_w=400, energy_j=4000), window(100, 10, utilization=0.5))
    found = gpu_figures(half)
    assert found is not None
    assert found.energy_per_token is None, "the energy of one window is not that of both"
    assert (found.utilization, found.power_w, found.memory_gb) == (0.5, 400, None)
    assert [TITLES[i] for i in known_columns([half])] == ["GPUs", "tokens/s per GPU", "GPU busy", "power"]


def test_show_has_a_column_per_known_figure() -> None:
    result = result_of(SampleKind.GPUS)
    lines = study_text(result).splitlines()
    head = next(line for line in lines if "configuration" in line)
    assert all(title in head for title in TITLES)
    row = next(line for line in lines if line.split()[:2] == ["1", "9"])
    cells = [row[head.index(t) : head.index(t) + len(t)].strip() for t in ("GPUs", "GPU busy", "GPU memory")]
    assert cells == ["4", "70%", "70.4 GiB"]
    assert row[head.index("energy per token") :].split()[:2] == ["0.65", "J/token"]
    assert "GPU" not in study_text(result_of(SampleKind.WINNER)), "no empty columns without GPUs"


def test_report_has_a_gpu_table_and_compares_per_gpu() -> None:
    found = evidence_of(result_of(SampleKind.GPUS))
    assert found.gpus is not None
    assert found.gpus.heads[2:] == TITLES
    assert len(found.gpus.rows) == 16
    titles = {figure.title for place in found.compared.places for figure in place.figures}
    assert {"output throughput per GPU", "energy per token"} <= titles
    assert "## GPUs and energy" in report_text(result_of(SampleKind.GPUS))
    assert evidence_of(result_of(SampleKind.WINNER)).gpus is None


def test_csv_has_the_gpus_and_their_sensors() -> None:
    rows = list(csv.DictReader(io.StringIO(export_text(result_of(SampleKind.GPUS), "csv"))))
    row = rows[-1]
    assert row["gpus"] == "4"
    rate = float(row["output_throughput"])
    power = float(row["gpu_power_w"])
    assert float(row["output_throughput_per_gpu"]) == pytest.approx(rate / 4)
    assert float(row["energy_per_token"]) == pytest.approx(power / rate)
    assert float(row["gpu_energy_j"]) == pytest.approx(power * 60)
    assert all(row[f"gpu_{name}"] for name in GpuUse.model_fields)
    without = next(csv.DictReader(io.StringIO(export_text(result_of(SampleKind.WINNER), "csv"))))
    assert (without["gpus"], without["gpu_power_w"], without["energy_per_token"]) == ("0", "", "")


def test_json_has_gpu_figures() -> None:
    result = result_of(SampleKind.GPUS)
    last = json.loads(export_text(result, "json"))["trials"][-1]
    assert last["gpus"] == 4
    assert last["measurements"][0]["gpu_use"]["samples"] == 120
    assert last["measurements"][0]["scalars"]["energy_per_token"] > 0
    assert best_json(result)["gpus"] == 4
    older = json.loads(export_text(result, "older"))["all_results"][-1]
    assert older["metrics"]["windows"][0]["output_throughput_per_gpu"] > 0
