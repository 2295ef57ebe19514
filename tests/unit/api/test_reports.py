"""Reports: what they contain, and where they are written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.api.reports import page_data
from autotuner.errors import UsageError
from autotuner.report.documents import page as html_page
from autotuner.report.documents.page import ReportPageMissingError, is_built
from autotuner.report.exports import strict_json
from autotuner.report.ranking import ranking
from autotuner.report.result import StudyResult, study_result
from autotuner.study.spec import PluginSpec
from autotuner.testing.samples import sample_study
from support.stored_samples import store_sample
from support.web.reports import report_text

built = pytest.mark.skipif(not is_built(), reason="the web UI is not built (make ui)")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory for each test."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


def unstored(kind: str) -> StudyResult:
    sample = sample_study(kind)
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


def in_containers() -> StudyResult:
    """A study whose servers ran in containers of an image that it names."""
    sample = sample_study("winner")
    deploy = {"kind": "docker", "image": "registry.example/llama:1", "model_roots": ["/models"]}
    spec = sample.spec.model_copy(update={"deploy": PluginSpec.model_validate(deploy)})
    return study_result(spec, sample.state, sample.trials, why=sample.why)


def test_every_form_has_the_manifests_of_the_winner() -> None:
    result = in_containers()
    tuner = autotuner.open()
    expected = {form: tuner.manifest(result, form).text for form in ("kubernetes", "compose")}
    assert "registry.example/llama:1" in expected["compose"]
    answers = page_data(None, result)["answers"]
    assert {key: text for key, text in answers.items() if key.startswith("manifest")} == {
        f"manifest?form={form}": text for form, text in expected.items()
    }
    assert json.loads(tuner.report_text(result, "json"))["manifests"] == expected
    text = tuner.report_text(result, "md")
    for title, form in (("Kubernetes", "kubernetes"), ("Compose", "compose")):
        block = f"<summary>{title}</summary>\n\n```yaml\n{expected[form].rstrip()}\n```\n\n</details>"
        assert block in text


def test_a_study_without_an_image_has_no_manifests() -> None:
    result = unstored("winner")
    tuner = autotuner.open()
    assert tuner.report_text(result, "json") == strict_json(result) + "\n"
    assert "Manifests" not in tuner.report_text(result, "md")
    assert not [key for key in page_data(None, result)["answers"] if key.startswith("manifest")]


def data_in(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


@built
def test_a_report_is_a_private_file_in_the_folder_of_the_study(home: Path) -> None:
    name = store_sample("winner", recorded=(0, 12)).spec.name
    path = autotuner.write_report(name)
    assert path == home / "studies" / name / "report.html"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert data_in(path.read_text())["study"] == name


@built
def test_the_same_study_gives_the_same_file(tmp_path: Path) -> None:
    name = store_sample("winner", recorded=(0, 12)).spec.name
    first, second = (autotuner.write_report(name, tmp_path / f"{i}.html").read_bytes() for i in range(2))
    assert first == second


@built
def test_a_result_that_is_not_stored_has_a_report(tmp_path: Path) -> None:
    path = autotuner.write_report(unstored("several"), tmp_path / "new" / "report.html")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    data = data_in(path.read_text())
    assert len(data["answers"]["details"]["trials"]) == len(sample_study("several").trials)
    assert not [address for address in data["answers"] if "latencies" in address]


def test_the_other_forms_are_text_and_what_show_prints(home: Path, tmp_path: Path) -> None:
    name = store_sample("winner").spec.name
    result = autotuner.load_result(name)
    assert autotuner.write_report(name, form="md") == home / "studies" / name / "report.md"
    written = autotuner.write_report(result, tmp_path / "x.md", "md").read_text()
    assert written.partition("## Conditions")[0] == report_text(result).partition("## Conditions")[0]
    assert autotuner.write_report(name, tmp_path / "x.json", "json").read_text() == strict_json(result) + "\n"
    with pytest.raises(UsageError, match="no such format of a report"):
        autotuner.write_report(name, form="pdf")  # type: ignore[arg-type]


def test_what_a_long_study_has_besides_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    result = unstored("winner")
    assert page_data(None, result)["left_out"] == []
    assert page_data(None, result)["positions"] is None
    monkeypatch.setattr("autotuner.report.documents.selection.shown_trials.__defaults__", (10,))
    data = page_data(None, result)
    shown = [row["number"] for row in data["answers"]["details"]["trials"]]
    assert len(shown) < len(result.trials)
    assert data["left_out"][0].startswith(f"This report has {len(shown)} of {len(result.trials)} trials")
    assert {int(number): at for number, at in data["positions"].items()} == {n: n for n in shown}
    assert {p["trial"] for p in data["answers"]["predictions"]["trials"]} <= set(shown)


def test_without_the_page_the_other_forms_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(html_page, "PAGE", tmp_path / "missing.html")
    name = store_sample("winner").spec.name
    with pytest.raises(ReportPageMissingError, match="make ui"):
        autotuner.write_report(name)
    assert autotuner.write_report(name, form="md").exists()


def test_a_study_is_ranked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many trials have a page of their own: ranking a long study takes longer than such a page."""
    ranked = 0

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal ranked
        ranked += 1
        return ranking(*given, **named)

    monkeypatch.setattr("autotuner.report.result.ranking", counted)
    found = unstored("huge")
    answers = page_data(None, found)["answers"]
    assert sum(place.startswith("trials/") and place.endswith("/log") for place in answers) == 40
    assert "## Trials" in autotuner.open().report_text(found, "md")
    assert [trial["rank"] for trial in json.loads(strict_json(found))["trials"]].count(1) == 1
    assert ranked == 1
