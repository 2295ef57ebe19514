"""Whole studies in a cluster, with SGLang's command line in pods of the simulator and load from a Job."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.events.follow import read
from autotuner.events.types import PhaseEntered
from autotuner.store import Store
from autotuner.study.failure import FailureCause
from autotuner.study.trial import TrialState
from autotuner.testing.fake_engine import FakeEngine
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from support.studies.installed_engines import install_engines

pytestmark = pytest.mark.cluster

MODEL = "llama-3-2-1b-instruct"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of the node that contains the model."""
    folder = tmp_path / "models"
    (folder / MODEL).mkdir(parents=True)
    (folder / MODEL / "config.json").write_text("{}")
    return folder


def test_study_of_sglang(kube: Any, models: Path, home: Path) -> None:
    """Two configurations succeed on one GPU each; the third runs out of GPU memory, as its log shows."""
    deploy = kube.settings(model_roots=[str(models)], image=None)
    result = autotuner.tune(
        {
            "name": "in-pods",
            "model": MODEL,
            "engine": "sglang",
            "deploy": {"kind": "kubernetes", **deploy},
            "parameters": {"mem-fraction-static": [0.8, 0.999]},
            "workload": calm_workload("D(100,20)"),
            "benchmark": CALM_BENCHMARK,
            "objective": "max output_throughput",
            "search": {"strategy": "grid", "trials": 3},
            "confirm": {"repeats": 0},
        }
    )
    states = [t.state for t in result.trials]
    assert states == [TrialState.DONE, TrialState.DONE, TrialState.FAILED], [t.failure for t in result.trials]
    assert result.trials[2].failure is not None
    assert result.trials[2].failure.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    for trial in result.trials[:2]:
        assert trial.gpus == 1
        assert trial.simulated
        assert trial.identity is not None
        assert trial.identity.kind == "pod"
        assert trial.measurements[0].requests > 0
        assert trial.measurements[0].failed == 0
    argv = result.trials[1].argv
    assert argv[argv.index("--mem-fraction-static") + 1] == "0.8"
    assert argv[argv.index("--model-path") + 1] == str(models / MODEL)
    logs = (home / "studies").rglob("server.log")
    assert any("mem_fraction_static" in file.read_text() for file in logs)


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> str:
    """Registers the scripted server as an engine and returns its kind."""
    install_engines(monkeypatch, FakeEngine)
    return FakeEngine.kind


def test_two_engines_in_images_of_their_own(kube: Any, models: Path, fake_engine: str) -> None:
    """SGLang in its image and another engine in the study's: one search, one answer."""
    kubernetes = {"kind": "kubernetes", **kube.settings(model_roots=[str(models)])}
    content = {
        "name": "two-engines",
        "model": MODEL,
        "deploy": kubernetes,
        "engines": [
            {"kind": "sglang", "deploy": {**kubernetes, "image": None}, "parameters": {"mem-fraction-static": [0.8]}},
            {"kind": fake_engine, "name": "other", "args": {"token-ms": 0.1}},
        ],
        "workload": calm_workload("D(100,20)"),
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 3, "racing": "off"},
        "confirm": {"repeats": 0},
    }
    images: dict[str, str] = {}
    with ThreadPoolExecutor(1) as pool:
        tuner = pool.submit(autotuner.tune, content)
        while not tuner.done():
            for pod in kube.objects("pods", "server"):
                images[pod["metadata"]["labels"]["autotuner/trial"]] = pod["spec"]["containers"][0]["image"]
            time.sleep(0.05)
        result = tuner.result()
    texts = ["engine=sglang", "engine=other", "engine=sglang sglang.mem-fraction-static=0.8"]
    assert [(t.configuration.text, t.state) for t in result.trials] == [(text, TrialState.DONE) for text in texts]
    assert images.keys() == {"0", "1", "2"}
    assert images["0"] == images["2"] != images["1"] == kube.image
    assert [t.simulated for t in result.trials] == [True, False, True]
    manifest = autotuner.Autotuner().manifest("two-engines", "kubernetes")
    assert result.winner is not None
    assert images[str(result.winner.number)] in manifest.text


def test_killed_pod_is_retried(kube: Any, fake_engine: str) -> None:
    """SIGKILL without an out-of-memory report is not the fault of the configuration."""
    content = {
        "name": "killed",
        "model": "fake",
        "engine": {"kind": fake_engine},
        "deploy": {"kind": "kubernetes", **kube.settings()},
        "parameters": {"parallel": [1]},
        "workload": calm_workload(requests=300),  # long enough to kill the pod during the measurement
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 1},
        "confirm": {"repeats": 0},
    }
    with ThreadPoolExecutor(1) as pool:
        tuner = pool.submit(autotuner.tune, content)
        wait_until_measuring("killed")
        kube.kill()
        result = tuner.result(120)
    killed, retried = result.trials
    assert killed.failure is not None
    assert killed.failure.exit_code == -9
    assert killed.state is TrialState.VOID
    assert retried.state is TrialState.DONE


def wait_until_measuring(study: str) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with Store.open() as store:
            phases = [e.phase for e in read(store, study) if isinstance(e, PhaseEntered)]
        if "measuring" in phases:
            return
        time.sleep(0.05)
    pytest.fail("nothing was measured")


@pytest.mark.campaign
def test_older_task_for_ome_in_plain_pods(
    kube: Any, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file as for OME, on a cluster without it; the site file has the settings that the task cannot."""
    site = {**kube.settings(model_roots=[str(models)]), "image": None}
    (tmp_path / "site.yaml").write_text(json.dumps({"deploy": {"kubernetes": site}}))
    monkeypatch.setenv("AUTOTUNER_SITE", str(tmp_path / "site.yaml"))
    task = {
        "task_name": "plain-pods",
        "model": {"id_or_path": MODEL, "namespace": "default"},
        "base_runtime": "llama-3-2-1b-instruct-rt",
        "parameters": {"tp_size": {"type": "choice", "values": [1]}, "mem_frac": [0.8, 0.85, 0.99]},
        "optimization": {"strategy": "grid_search", "objective": "minimize_latency", "max_iterations": 3},
        "benchmark": {
            "traffic_scenarios": ["D(100,100)"],
            "num_concurrency": [1, 4],
            "max_requests_per_iteration": 50,
            "additional_params": {"temperature": "0.0"},
        },
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    spec = autotuner.read_study(tmp_path / "task.json", mode="kubernetes").spec
    search = spec.search.model_copy(update={"parallel": 2})
    confirm = spec.confirm.model_copy(update={"repeats": 0})
    result = autotuner.tune(spec.model_copy(update={"search": search, "confirm": confirm}))
    states = [t.state for t in result.trials]
    assert states == [TrialState.DONE] * 3 + [TrialState.FAILED], [t.failure for t in result.trials]
    fractions = [t.argv[t.argv.index("--mem-fraction-static") + 1] for t in result.trials[1:3]]
    assert fractions == ["0.8", "0.85"]
    failure = result.trials[3].failure
    assert failure is not None
    assert failure.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    assert kube.left() == []
