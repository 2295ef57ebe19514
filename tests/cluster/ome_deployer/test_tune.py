"""Whole studies on OME: the older tool's task file as it is, two trials at a time on four GPUs."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ome.furniture import MODEL, RUNTIME

from autotuner import api
from autotuner.store import Store
from autotuner.study.errors import AutotunerError
from autotuner.study.failure import FailureCause
from autotuner.study.trial import TrialState

pytestmark = pytest.mark.cluster

TASK = {
    "task_name": "simple-tune",
    "description": "One model, one GPU, three memory fractions",
    "model": {"id_or_path": MODEL, "namespace": "autotuner"},
    "base_runtime": RUNTIME,
    "parameters": {
        "tp_size": {"type": "choice", "values": [1]},
        "mem_frac": {"type": "choice", "values": [0.8, 0.85, 0.99]},
    },
    "optimization": {
        "strategy": "grid_search",
        "objective": "minimize_latency",
        "max_iterations": 3,
        "timeout_per_iteration": 600,
    },
    "benchmark": {
        "task": "text-to-text",
        "model_name": MODEL,
        "model_tokenizer": "meta-llama/Llama-3.2-1B-Instruct",
        "traffic_scenarios": ["D(100,100)"],
        "num_concurrency": [1, 4],
        "max_time_per_iteration": 10,
        "max_requests_per_iteration": 50,
        "additional_params": {"temperature": "0.0"},
    },
}


@pytest.fixture
def site(at: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an older task has no place for, said once for this machine; and an empty store."""
    path = tmp_path / "site.yaml"
    settings = {k: v for k, v in at.settings().items() if k not in {"runtime", "namespace"}}
    path.write_text(json.dumps({"deploy": {"ome": settings}}))
    monkeypatch.setenv("AUTOTUNER_SITE", str(path))
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return path


def test_the_older_task_file_as_it_is(at: Any, site: Path, tmp_path: Path) -> None:
    """0.99 leaves nothing for activations, which the log tells; two trials at a time never share a GPU or a pod."""
    task = json.loads(json.dumps(TASK))
    task["model"]["namespace"] = at.lab.namespace
    file = tmp_path / "task.json"
    file.write_text(json.dumps(task))
    spec = api.read_study(file, mode="ome").spec
    spec = spec.model_copy(
        update={
            "search": spec.search.model_copy(update={"parallel": 2}),
            "confirm": spec.confirm.model_copy(update={"repeats": 0}),
        }
    )
    result = api.tune(spec)
    states = [t.state for t in result.trials]
    assert states == [TrialState.DONE] * 3 + [TrialState.FAILED], [t.failure for t in result.trials]
    last = result.trials[3].failure
    assert last is not None
    assert last.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    assert "out of memory" in last.log_tail.lower()
    for trial, fraction in zip(result.trials, (None, "0.8", "0.85"), strict=False):
        assert trial.identity is not None
        assert trial.identity.kind == "pod"
        assert trial.gpus == 1
        assert [(m.requests, m.failed) for m in trial.measurements] == [(50, 0), (50, 0)]
        told = [b for a, b in pairwise(trial.argv) if a in {"--mem-fraction-static", "--mem-frac"}]
        assert told == [fraction or "0.9"], "the default is the runtime's own"
        assert [b for a, b in pairwise(trial.argv) if a == "--model-path"] == [at.ome.settings.model_path]
    assert len({t.identity.id for t in result.trials if t.identity}) == 3
    text = api.manifest(result, "inference-service").text
    assert f"name: {RUNTIME}" in text
    assert at.left() == []


@pytest.mark.campaign
@pytest.mark.parametrize("phase", ["launching", "loading", "measuring"])
def test_a_run_that_is_killed_goes_on(at: Any, site: Path, tmp_path: Path, phase: str) -> None:
    """SIGKILL in every state; the same command removes what was left and comes to the end."""
    task = json.loads(json.dumps(TASK))
    task["model"]["namespace"] = at.lab.namespace
    task["parameters"] = {"mem_frac": [0.8]}
    file = tmp_path / "task.json"
    file.write_text(json.dumps(task))
    argv = [sys.executable, "-m", "autotuner", "run", str(file), "--mode", "ome", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=dict(os.environ)) as run:
        until_phase(phase)
        run.kill()
    done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ), check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    found = api.result("simple-tune")
    cut_off = [t for t in found.trials if t.state is TrialState.VOID]
    assert [t.failure for t in cut_off] == [None], "the one in which the run ended"
    assert {t.state for t in found.trials if t not in cut_off} == {TrialState.DONE}
    assert found.winner is not None
    assert at.left() == []


def until_phase(phase: str) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with suppress(AutotunerError), Store.open() as store:  # there is none at first
            if phase in [e.data["phase"] for e in store.events("simple-tune") if e.kind == "phase"]:
                return
        time.sleep(0.1)
    pytest.fail(f"never {phase}")
