"""Whole studies on OME: the older tool's task file as it is, two trials at a time on four GPUs."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ome.furniture import MODEL, RUNTIME

from autotuner import api
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
