"""Every example runs on a real server, as a copy with short windows and a tiny model."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

import autotuner
from autotuner.demo_model import write_tiny_gguf
from autotuner.study.spec import ConfirmSpec
from autotuner.study.trial import TrialRole, TrialState
from autotuner.study_file.loader import parse_study
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted([*ROOT.glob("examples/*.yaml"), *ROOT.glob("examples/*.json")])
TRIALS = 2
SHORT = {name: value for name, value in calm_workload(requests=4).items() if name not in {"scenarios", "concurrency"}}
"""Settings for short windows, without a load."""
SHORT_SEARCH = {"warmup": "0s", "max_requests": 300, "max_duration": "6s"}
"""The same for a capacity search, which chooses its own load."""

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", layers=1, width=256)


@pytest.fixture
def running_server() -> Iterator[str]:
    """The address of a server that is already running."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "autotuner.testing.fake_server", "--port", str(port), "--model", "my-model"]
    with subprocess.Popen(command) as server, httpx.Client(trust_env=False) as client:
        try:
            while server.poll() is None:
                try:
                    client.get(f"{url}/health")
                    break
                except httpx.ConnectError:
                    continue
            yield url
        finally:
            server.terminate()


def shortened(path: Path, model: Path, url: str) -> dict[str, Any]:
    """Returns the example with a short measurement; its form, parameters, search and SLOs stay as they are."""
    data = json.loads(path.read_text()) if path.suffix == ".json" else YAML(typ="safe", pure=True).load(path)
    if "task_name" in data:
        data["model"]["id_or_path"] = str(model)
        data["optimization"]["max_iterations"] = TRIALS - 1
        data["benchmark"] |= {"max_requests_per_iteration": 4, "traffic_scenarios": ["D(16,8)"]}
        return dict(data)
    data["name"] = path.stem
    data["workload"] |= SHORT_SEARCH if data["workload"].get("load") else SHORT
    data.setdefault("benchmark", dict(CALM_BENCHMARK))
    if "url" in (data.get("deploy") or {}):
        data["deploy"]["url"] = url
        return dict(data)
    engines = data.get("engines") or [data["engine"]]
    if any((e if isinstance(e, str) else e["kind"]) != "simulated" for e in engines):
        data["model"] = str(model)
    if not re.search(r"dataset:|trace|mix|turns|prefixes|[ER]\(", str(data["workload"]["scenarios"])):
        data["workload"]["scenarios"] = "D(16,8)"
    if "E(" in str(data["workload"]["scenarios"]):
        data["workload"]["scenarios"] = "E(16) documents=2"
    data["search"] = {**data["search"], "trials": TRIALS}
    return dict(data)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_runs(
    path: Path, tiny_model: Path, running_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    file = tmp_path / f"{path.stem}.json"
    file.write_text(json.dumps(shortened(path, tiny_model, running_server)))
    for other in ROOT.glob("examples/*.jsonl"):
        shutil.copy(other, tmp_path)
    spec = autotuner.read_study(file).spec.model_copy(update={"confirm": ConfirmSpec(repeats=0)})
    result = autotuner.tune(spec)
    assert result.state == "done"
    trials = [t for t in result.trials if t.role is not TrialRole.CONFIRM]
    states = {TrialState.DONE} | ({TrialState.FAILED} if spec.engine.kind == "simulated" else set())
    assert trials[0].state is TrialState.DONE
    assert {t.state for t in trials} <= states, [t.failure for t in trials]
    assert len(trials) == (TRIALS if result.spec.parameters else 1)
    for values in (t.configuration.values for t in trials[1:]):
        assert list(values) == [p.name for p in result.spec.parameters if not p.when or p.name in values]
    assert autotuner.write_report(result).exists()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_says_how_to_use_it(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"^# .*\b(autotuner (run|plan)|make) ", text, re.MULTILINE) or '"description"' in text
    assert parse_study(text, source=path.name, folder=path.parent).spec.objectives


def test_every_form_has_an_example() -> None:
    specs = [parse_study(p.read_text(), source=p.name, folder=p.parent).spec for p in EXAMPLES]
    assert {s.deploy.kind for s in specs} == {"process", "external"}
    assert any("task_name" in json.loads(p.read_text()) for p in EXAMPLES if p.suffix == ".json")
