"""A built-in plugin without its optional dependency: an error when it is used, no obstacle otherwise."""

import pytest

import autotuner
from autotuner.errors import MissingExtraError
from autotuner.plugins import loading


class Absent:
    """A built-in entry point whose module imports something that is not installed."""

    dist = None

    def __init__(self, module: str) -> None:
        self.module = module

    def load(self) -> type:
        raise ModuleNotFoundError("No module named 'aiodocker'", name="aiodocker")


@pytest.fixture(autouse=True)
def _without_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = loading.kinds
    monkeypatch.setattr(loading, "kinds", lambda group: {**installed(group), **_absent(group)})


def _absent(group: str) -> dict[str, Absent]:
    return {"docker": Absent("autotuner.deployers.docker.deployer")} if group == "deployers" else {}


def test_loading_it_names_the_extra() -> None:
    with pytest.raises(MissingExtraError) as caught:
        loading.load("deployers", "docker")
    assert caught.value.details == {"extra": "docker"}
    assert caught.value.remedy == "pip install 'llm-inference-autotuner[docker]'"


def test_the_others_work_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))  # no test may reach a cluster of the machine's user
    assert set(loading.available("deployers")) == {"process", "external", "kubernetes", "ome"}
    assert "deploy.docker" not in autotuner.study_schema()["$defs"]
    assert autotuner.reap() == []
