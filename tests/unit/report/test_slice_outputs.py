"""Kinds of requests and stages of a load, in every output of a study."""

import csv
import io
import json

from autotuner.cli.trial_page import trial_text
from autotuner.report.exports import export_text
from autotuner.report.result import StudyResult, study_result
from autotuner.study.measurement import Slice
from autotuner.testing.samples import SampleKind, sample_study
from autotuner.testing.study_maker import spread
from support.web.reports import evidence_of, report_text

SLICES = (
    Slice(
        kind="stage",
        label="stage 1: 2/s:10s",
        requests=20,
        failed=1,
        distributions={"ttft": spread(0.2, 19)},
        scalars={"output_throughput": 84.5, "request_throughput": 1.9},
    ),
    Slice(kind="stage", label="stage 2: 0/s:5s", requests=0, failed=0),
)


def result(slices: tuple[Slice, ...] = SLICES) -> StudyResult:
    sample = sample_study(SampleKind.WINNER)
    first, *rest = sample.trials
    windows = tuple(m.replaced(slices=slices) for m in first.measurements)
    return study_result(sample.spec, sample.state, [first.replaced(measurements=windows), *rest], why=sample.why)


def test_the_page_of_a_trial_has_a_line_each() -> None:
    found = result()
    lines = [line for line in trial_text(found, found.trials[0], [], width=160).splitlines() if "stage " in line]
    windows = len(found.trials[0].measurements)
    assert len(lines) == 2 * windows
    assert "20 requests, 1 failed, 84.5 tokens/s, 1.9 requests/s" in lines[0]
    assert "p99 TTFT ~360 ms" in lines[0]
    assert lines[1].endswith("0 requests")


def test_the_report_has_a_row_each() -> None:
    table = evidence_of(result()).parts
    assert table is not None
    assert len(table.rows) == 2 * len(result().trials[0].measurements)
    first = dict(zip(table.heads, table.rows[0], strict=True))
    assert first["TTFT p50 / p99"].endswith("~360 ms")
    assert first["tokens/s"] == "84.5"
    assert "## Parts of the load" in report_text(result())
    assert evidence_of(result(())).parts is None


def test_csv_and_json_have_the_figures() -> None:
    first, second = next(csv.DictReader(io.StringIO(export_text(result(), "csv"))))["slices"].split("; ")
    assert first.startswith("stage 1: 2/s:10s requests=20 failed=1 output_throughput=84.5 ")
    assert "ttft:mean=0.212108" in first
    assert second == "stage 2: 0/s:5s requests=0 failed=0"
    measured = json.loads(export_text(result(), "json"))["trials"][0]["measurements"][0]
    assert measured["slices"][0]["scalars"]["request_throughput"] == 1.9
    assert [(part["kind"], part["label"]) for part in measured["slices"]] == [(s.kind, s.label) for s in SLICES]
