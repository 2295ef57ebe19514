"""A whole study over two simulated engines: what reaches the servers, what is exported, and an engine added later."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

import autotuner
from autotuner.report.exports import best_json, export_text
from autotuner.study.trial import TrialState
from autotuner.testing.relaxed_settings import CALM_BENCHMARK

pytestmark = pytest.mark.usefixtures("home")

SIMULATED = {"kind": "simulated", "gpu": "H100", "speed": 20}
VLLM = {**SIMULATED, "name": "vllm", "flavor": "vllm", "env": {"OMP_NUM_THREADS": 1}}
SGLANG = {
    **SIMULATED,
    "name": "sglang",
    "flavor": "sglang",
    "args": {"context-length": 4096},
    "parameters": {"chunked-prefill-size": [2048]},
}


@pytest.fixture
def study(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": "Qwen/Qwen3-8B",
        "engines": [VLLM, SGLANG],
        "workload": {"scenarios": "D(64,8)", "concurrency": 4, "warmup": 0, "duration": "300ms", "min_requests": 1},
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 3, "racing": "off"},
        "confirm": {"repeats": 0},
    }


def test_each_configuration_runs_on_its_engine(study: dict[str, Any], leftovers: Callable[[], list[str]]) -> None:
    plan = autotuner.plan_study(study)
    assert [(e.name, e.simulated, e.space_size) for e in plan.engines] == [
        ("vllm", "vllm on H100x1", 0),
        ("sglang", "sglang on H100x1", 1),
    ]
    result = autotuner.tune(study)
    assert [(t.configuration.text, t.state) for t in result.trials] == [
        ("engine=vllm", TrialState.DONE),
        ("engine=sglang", TrialState.DONE),
        ("engine=sglang sglang.chunked-prefill-size=2048", TrialState.DONE),
    ]
    flavors = [t.argv[t.argv.index("--flavor") + 1] for t in result.trials]
    assert flavors == ["vllm", "sglang", "sglang"]
    assert ["--context-length" in t.argv for t in result.trials] == [False, True, True]
    assert result.trials[2].argv[-2:] != result.trials[1].argv[-2:]
    assert result.trials[2].resolved["chunked-prefill-size"] == 2048
    rows = list(csv.DictReader(io.StringIO(export_text(result, "csv"))))
    assert [row["parameter:engine"] for row in rows] == ["vllm", "sglang", "sglang"]
    assert [row["parameter:sglang.chunked-prefill-size"] for row in rows] == ["", "", "2048"]
    stored = json.loads(export_text(result, "json"))
    assert [(d["engine"], d["trial"]) for d in stored["engine_defaults"]] == [("vllm", 0), ("sglang", 1)]
    best = best_json(result)
    if best["winner"] is not None:
        assert (best["engine"] == "vllm") is best["command"].startswith("OMP_NUM_THREADS=1 ")
        assert flavors[best["winner"]] == best["engine"]
    manifest = autotuner.Autotuner().manifest(study["name"], "kubernetes") if best["winner"] else None
    assert manifest is None or best["engine"] in manifest.text

    third = {**SIMULATED, "name": "other", "flavor": "sglang"}
    again = autotuner.tune({**study, "engines": [VLLM, SGLANG, third]})
    assert [t.configuration.text for t in again.trials[3:]] == ["engine=other"]
    assert again.trials[:3] == result.trials
    assert leftovers() == []
