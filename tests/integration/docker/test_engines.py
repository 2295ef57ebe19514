"""One study over two engines, each in containers of an image of its own."""

import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import autotuner
from autotuner.report.exports import best_json
from autotuner.study.trial import TrialState
from autotuner.testing.fake_engine import FakeEngine
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from support.labs.docker_engine import IMAGE, OwnEngine
from support.studies.installed_engines import install_engines

pytestmark = pytest.mark.docker

OLD = "autotuner-test-old:1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, and the fake engine as a plugin."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    install_engines(monkeypatch, FakeEngine)


@pytest.fixture
def old_image(engine: OwnEngine) -> Iterator[str]:
    """The image under a second name, as of another version of the engine."""
    repo, _, tag = OLD.partition(":")
    engine.api("POST", f"/images/{IMAGE}/tag", params={"repo": repo, "tag": tag}).raise_for_status()
    yield OLD
    engine.api("DELETE", f"/images/{OLD}").raise_for_status()


def test_each_engine_runs_in_its_image(engine: OwnEngine, old_image: str) -> None:
    """The versions differ in images, arguments and parameters; the answer names the image of the winner."""
    common = {"kind": FakeEngine.kind, "parameters": {"parallel": [2]}}
    deploy = {"kind": "docker", **engine.settings(stop_grace="1s")}
    content = {
        "name": "versions",
        "model": "fake",
        "deploy": deploy,
        "engines": [
            {**common, "name": "old", "args": {"token-ms": 8}, "deploy": {**deploy, "image": old_image}},
            {**common, "name": "new", "env": {"VERSION": "2"}},
        ],
        "workload": calm_workload(requests=40),
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 4, "racing": "off"},
        "confirm": {"repeats": 0},
    }
    images: dict[str, str] = {}
    with ThreadPoolExecutor(1) as pool:
        tuner = pool.submit(autotuner.tune, content)
        while not tuner.done():
            images |= {c["Labels"]["autotuner.trial"]: c["Image"] for c in engine.containers()}
            time.sleep(0.02)
        result = tuner.result()
    assert [(t.configuration.text, t.state) for t in result.trials] == [
        (text, TrialState.DONE)
        for text in ("engine=old", "engine=new", "engine=old old.parallel=2", "engine=new new.parallel=2")
    ]
    assert images == {"0": old_image, "1": IMAGE, "2": old_image, "3": IMAGE}
    assert ["VERSION=2" in t.command for t in result.trials] == [False, True, False, True]
    assert ["--token-ms=8" in t.argv for t in result.trials] == [True, False, True, False]
    assert result.winner is not None
    assert result.winner.configuration.values["engine"] == "new"
    command = shlex.split(best_json(result)["command"])
    assert IMAGE in command
    assert old_image not in command
    assert engine.containers() == []
