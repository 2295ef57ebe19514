"""Settings, models and runtimes shown on the pages about clusters are valid."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.ome import check_model, check_runtime
from autotuner.deployers.ome.resources import OmeResource
from autotuner.deployers.ome.runtime_matching import why_not
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.study.check import CheckStatus
from autotuner.study_file.loader import parse_study

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("page", "settings"), [("kubernetes", KubernetesSettings), ("ome", OmeSettings)])
def test_every_setting_is_documented(page: str, settings: type[BaseModel]) -> None:
    text = (ROOT / "docs" / "reference" / f"{page}-settings.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(settings.model_fields)


def test_ome_study_is_valid(fenced: Callable[[str, str], list[str]], tmp_path: Path) -> None:
    study, values, *_ = fenced("docs/how-to/run-in-ome.md", "yaml")
    spec = parse_study(study, source="study.yaml", folder=tmp_path, exists=Path.exists).spec
    settings = OmeSettings.model_validate(spec.deploy.settings)
    assert (settings.runtime, spec.model.path) == ("srt-qwen3-0-6b", "qwen3-0-6b")
    assert set(YAML(typ="safe").load(values)) == {"ome", "modelAgent"}


def test_ome_runtime_serves_the_model(fenced: Callable[[str, str], list[str]]) -> None:
    model, runtime = [
        OmeResource(YAML(typ="safe").load(text)) for text in fenced("docs/how-to/run-in-ome.md", "yaml")[2:]
    ]
    assert why_not(runtime, model) == []
    assert [c.status for c in check_runtime.checks(runtime, model, "nvidia.com/gpu")] == [CheckStatus.OK]
    model.body["status"] = {"state": "Ready", "nodesReady": ["node-1"]}
    assert [c.status for c in check_model.checks(model, None, {})] == [CheckStatus.OK]
