"""A plugin whose optional dependency is missing says so when it is asked for, and is in nobody's way otherwise."""

import pytest

import autotuner
from autotuner.errors import MissingExtraError
from autotuner.plugins import loading


class Absent:
    """An entry point of ours whose module needs what is not installed."""

    dist = None

    def load(self) -> type:
        raise ModuleNotFoundError("No module named 'aiodocker'", name="aiodocker")


@pytest.fixture(autouse=True)
def _without_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = loading.kinds
    monkeypatch.setattr(loading, "kinds", lambda group: {**installed(group), **_absent(group)})


def _absent(group: str) -> dict[str, Absent]:
    return {"docker": Absent()} if group == "deployers" else {}


def test_asked_for() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'llm-inference-autotuner\[docker\]'"):
        loading.load("deployers", "docker")


def test_not_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))  # nobody's cluster is part of a test
    assert set(loading.available("deployers")) == {"process", "external", "kubernetes", "ome"}
    assert "deploy.docker" not in autotuner.study_schema()["$defs"]
    assert autotuner.reap() == []
