"""Settings of a machine as defaults for studies in all forms."""

import json
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.api.study_input import loaded_study
from autotuner.errors import UsageError
from autotuner.study_file.loader import parse_study
from autotuner.study_file.machine_settings import parse_site, with_site

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
