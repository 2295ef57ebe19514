"""Settings of a machine as defaults for studies in all forms."""

import json
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.api.study_input import loaded_study
from autotuner.errors import UsageError
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.machine_settings import parse_site, with_deploy_settings, with_site

SITE = "deploy:\n  docker: {model_roots: [/data/models], shm_size: 1g}\n  process: {stop_grace: 1}\n"


def study(**deploy: Any) -> dict[str, Any]:
    return {
        "name": "s",
        "model": "m",
        "engine": "sglang",
        "deploy": {"kind": "docker", **deploy},
        "workload": {"scenarios": "D(8,8)", "concurrency": 1},
        "objective": "max output_throughput",
    }


def test_the_study_takes_precedence_and_used_defaults_are_noted() -> None:
    spec = parse_study(study(shm_size="2g"), source="s", folder=Path()).spec
    found, notes = with_site(spec, parse_site(SITE, "site.yaml"), "site.yaml")
    assert found.deploy.kind == "docker"
    assert found.deploy.settings == {"model_roots": ["/data/models"], "shm_size": "2g"}
    assert notes == ["deploy: model_roots from site.yaml"]
    assert found.digest != spec.digest, "a changed setting changes what is measured"


def test_benchmarks_can_have_defaults_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("benchmark: {genai_bench: {command: /opt/genai-bench}}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(study()))
    assert autotuner.read_study(file).notes == ()
    read = autotuner.read_study(file, benchmark="genai_bench")
    assert (read.spec.benchmark.kind, read.spec.benchmark.settings) == ("genai_bench", {"command": "/opt/genai-bench"})
    assert read.notes == (f"benchmark: command from {site}",)


def test_other_deployers_are_not_affected() -> None:
    spec = parse_study({**study(), "deploy": "external"}, source="s", folder=Path()).spec
    assert with_site(spec, parse_site(SITE, "site.yaml"), "site.yaml") == (spec, [])


def test_every_form_of_a_study_gets_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE)
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    older = tmp_path / "task.json"
    older.write_text(
        '{"task_name": "t", "deployment_mode": "docker", "model": {"id_or_path": "m"}, "base_runtime": "sglang",'
        ' "optimization": {}, "benchmark": {}}'
    )
    assert autotuner.read_study(older).spec.deploy.settings["model_roots"] == ["/data/models"]
    assert autotuner.read_study(older).notes == (f"deploy: model_roots, shm_size from {site}",)
    assert autotuner.read_study(older, mode="process").spec.deploy.settings == {"stop_grace": 1}
    assert loaded_study(study()).spec.deploy.settings["shm_size"] == "1g"
    monkeypatch.setenv("AUTOTUNER_SITE", str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError) as caught:
        autotuner.read_study(older)
    assert [p.where for p in caught.value.problems] == [str(tmp_path / "none.yaml")]


def test_the_user_s_site_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTUNER_SITE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "model_roots" not in loaded_study(study()).spec.deploy.settings
    (tmp_path / "autotuner").mkdir()
    (tmp_path / "autotuner" / "site.yaml").write_text(SITE)
    assert loaded_study(study()).spec.deploy.settings["model_roots"] == ["/data/models"]


def engines(*deployers: dict[str, Any]) -> StudySpec:
    """A study with one engine per deployer."""
    entries = [
        {"kind": "sglang", "name": f"e{index}", "parameters": {"tp-size": [1, 2]}, "deploy": deploy}
        for index, deploy in enumerate(deployers)
    ]
    data = {
        "name": "s",
        "model": "m",
        "engines": entries,
        "workload": {"scenarios": "D(8,8)", "concurrency": 1},
        "objective": "max output_throughput",
    }
    return parse_study(data, source="s.yaml", folder=Path("/")).spec


def test_settings_of_one_engine_or_of_all() -> None:
    spec = engines({"kind": "docker", "shm_size": "1g"}, {"kind": "docker", "image": "x"})
    found = with_deploy_settings(spec, {"host": "h", "engines[1].deploy.image": "y", "engines[0].deploy.a.b": 1})
    assert [d.settings for d in found.deployers] == [
        {"shm_size": "1g", "host": "h", "a.b": 1},
        {"image": "y", "host": "h"},
    ]
    assert found.deploy == found.engines[0].deploy, "of the first engine"
    assert with_deploy_settings(spec, {}) == spec


@pytest.mark.parametrize(
    ("settings", "why", "remedy"),
    [
        (
            {"image": "x"},
            "the engines have different deployers (docker, process)",
            "name the entry: engines[0].deploy.image=..",
        ),
        ({"engines[2].deploy.image": "x"}, "the study has 2 entries", "write engines[0] to engines[1]"),
    ],
)
def test_ambiguous_settings_are_refused(settings: dict[str, Any], why: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_deploy_settings(engines({"kind": "docker"}, {"kind": "process"}), settings)
    [problem] = caught.value.problems
    assert (problem.why, problem.remedy) == (why, remedy)


def test_a_study_with_one_engine_has_no_entries() -> None:
    spec = engines({"kind": "docker"}).of_engine("e0")
    assert with_deploy_settings(spec, {"image": "x"}).deploy.settings == {"image": "x"}
    with pytest.raises(UsageError, match="the study has no engines"):
        with_deploy_settings(spec, {"engines[0].deploy.image": "x"})
