"""Results as data frames of pandas and polars."""

import csv
import io
import sys

import pytest

from autotuner.errors import MissingExtraError, UsageError
from autotuner.report.exports import csv_text
from autotuner.report.result import StudyResult, study_result
from autotuner.testing.samples import sample_study


def sampled(kind: str) -> StudyResult:
    sample = sample_study(kind)
    return study_result(sample.spec, sample.state, sample.trials)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", ["winner", "failures"])
def test_data_frame_equals_the_csv_export(library: str, kind: str) -> None:
    pytest.importorskip(library)
    result = sampled(kind)
    frame = result.to_dataframe(library)  # type: ignore[arg-type]
    titles, *rows = csv.reader(io.StringIO(csv_text(result)))
    assert list(frame.columns) == titles
    assert [str(number) for number in frame["trial"]] == [row[titles.index("trial")] for row in rows]
    shown = [row[titles.index("output_throughput")] for row in rows]
    column = frame["output_throughput"]
    measured = list(column.fillna(-1) if library == "pandas" else column.fill_null(-1))
    assert measured == [float(text) if text else -1 for text in shown]


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    for library, extra in ((None, "pandas"), ("polars", "polars")):
        with pytest.raises(MissingExtraError, match=rf"llm-inference-autotuner\[{extra}\]"):
            sampled("winner").to_dataframe(library)  # type: ignore[arg-type]


def test_unknown_library_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        sampled("winner").to_dataframe("arrow")  # type: ignore[arg-type]
