"""What the server saw, in every output of a study."""

import csv
import io
import json

from autotuner.cli.trial_page import trial_text
from autotuner.report.exports import export_text
from autotuner.report.result import StudyResult, study_result
from autotuner.report.trial_data import trial_data
from autotuner.study.server_metrics import GaugeStats, ServerMetrics
from autotuner.testing.samples import SampleKind, sample_study
from support.web.reports import evidence_of, report_text

SERVER = ServerMetrics(
    engine="vllm",
    samples=20,
    coverage=1.0,
    running=GaugeStats(mean=39.0, min=30.0, max=41.0),
    kv_usage=GaugeStats(mean=0.97, min=0.5, max=1.0),
    kv_full_share=0.6,
    kv_full_running=40,
    preemptions=212,
    notes=("counters <b>odd</b>",),
)
WHY = "KV cache full from 40 requests in flight; 212 preemptions"


def result(server: ServerMetrics | None = SERVER) -> StudyResult:
    sample = sample_study(SampleKind.WINNER)
    first, *rest = sample.trials
    windows = tuple(m.replaced(server=server) for m in first.measurements)
    return study_result(sample.spec, sample.state, [first.replaced(measurements=windows), *rest], why=sample.why)


def test_the_page_of_a_trial_says_why() -> None:
    found = result()
    lines = trial_text(found, found.trials[0], [], width=160).splitlines()
    at, _ = [i for i, line in enumerate(lines) if line.startswith("  server: 39 running")]
    assert lines[at + 1] == f"  why: {WHY}"
    assert "odd" in lines[at + 2]
    data = trial_data(found, found.trials[0], [])["diagnosis"]
    assert [d["sentences"] for d in data] == [[WHY]] * 2
    assert "  server:" not in trial_text(result(None), result(None).trials[0], [], width=160)


def test_the_report_has_a_row_per_window_and_no_column_that_nobody_reports() -> None:
    table = evidence_of(result()).server
    assert table is not None
    assert [row[table.heads.index("what it explains")] for row in table.rows] == [WHY] * 2
    assert "preemptions" in table.heads
    assert "waiting" not in table.heads
    assert "## What the servers saw" in report_text(result())
    assert evidence_of(result(None)).server is None


def test_csv_and_json_have_the_figures() -> None:
    row = next(csv.DictReader(io.StringIO(export_text(result(), "csv"))))
    assert (row["server_running:max"], row["server_preemptions"], row["diagnosis"]) == ("41.0", "212", WHY)
    assert row["server_waiting:mean"] == ""
    first = json.loads(export_text(result(), "json"))["trials"][0]
    assert first["measurements"][0]["server"]["kv_full_running"] == 40
