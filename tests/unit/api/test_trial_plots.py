"""What the files of a trial say: latencies of a window, and metrics over time."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import autotuner
from autotuner.errors import NotFoundError
from autotuner.study.launch import GpuSample

Study = Mapping[str, object]


def test_latencies_of_a_real_window_agree_with_its_measurement(study: Study, home: Path) -> None:
    slo = {**study, "slo": "p99 ttft <= 10s"}
    measured = autotuner.tune(slo).trials[0].measurements[0]
    tuner = autotuner.open()
    found = tuner.latencies("my-study", 0)
    assert found.missing == ""
    assert (found.scenario, found.level) == ("D(8,4)", "concurrency=1")
    assert {one.metric for one in found.latencies} == set(measured.distributions) - {"itl_token"}
    for one in found.latencies:
        assert one.agrees
        assert one.statistics == measured.distributions[one.metric]
        assert one.values[0] == pytest.approx(one.statistics.min)
        assert one.values[-1] == pytest.approx(one.statistics.max)
        assert [slo.text for slo in one.slos] == (["p99 ttft <= 10000ms"] if one.metric == "ttft" else [])
    for window in ("measurements.1", "looks.0", "capacities.0.levels.0", "verdict", "measurements.x", "argv.0"):
        with pytest.raises(NotFoundError, match="no such window"):
            tuner.latencies("my-study", 0, window)
    with pytest.raises(NotFoundError, match="no such trial"):
        tuner.latencies("my-study", 7)


def test_records_that_are_gone_or_damaged_are_explained(study: Study, home: Path) -> None:
    measured = autotuner.tune(study).trials[0].measurements[0]
    assert measured.records is not None
    path = home / "studies" / "my-study" / "trials" / "0000" / measured.records
    path.write_bytes(b"damaged")
    found = autotuner.open().latencies("my-study", 0)
    assert (found.latencies, "cannot be read" in found.missing) == ((), True)
    path.unlink()
    found = autotuner.open().latencies("my-study", 0)
    assert (found.latencies, "not on this machine" in found.missing) == ((), True)


def test_a_trial_over_time_has_its_phases_and_its_gpus(study: Study, home: Path) -> None:
    trial = autotuner.tune(study).trials[0]
    folder = home / "studies" / "my-study" / "trials" / "0000"
    at = trial.measurements[0].started_at
    samples = [GpuSample(at=at + i / 2, index=0, utilization=0.5) for i in range(3)]
    lines = [json.dumps(sample.model_dump(mode="json", exclude_none=True)) for sample in samples]
    (folder / "gpus.jsonl").write_text("\n".join([*lines, lines[0][:9]]))
    found = autotuner.open().trial_history("my-study", 0)
    phases = [span.phase for span in found.phases]
    assert phases.index("warming") < phases.index("measuring")
    measuring = found.phases[phases.index("measuring")]
    assert measuring.level == "concurrency=1"
    assert all(a.end == b.begin for a, b in zip(found.phases[:-1], found.phases[1:], strict=True))
    assert found.phases[0].begin == 0
    assert found.phases[-1].end <= found.length_s
    (chart,) = [chart for chart in found.charts if chart.id == "utilization"]
    assert chart.lines[0].values == (50, 50, 50)
    assert chart.lines[0].at[0] == pytest.approx(at - found.began_at)


def test_a_study_without_files_has_no_charts(stored: str) -> None:
    assert autotuner.open().trial_history(stored, 0).charts == ()
