"""A whole study with conditional parameters and named combinations: what reaches the servers, and what is exported."""

import csv
import io
import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

import autotuner
from autotuner.report.exports import best_json, export_text
from autotuner.study.base import parts_of
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.relaxed_settings import CALM_BENCHMARK

pytestmark = pytest.mark.usefixtures("home")

TUNED = {"schedule-policy", "schedule-conservativeness", "max-running-requests", "chunked-prefill-size"}
FLAGS = {
    "small": {"max-running-requests": 8, "chunked-prefill-size": 2048},
    "large": {"max-running-requests": 64},
}


@pytest.fixture
def study(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": "Qwen/Qwen3-8B",
        "engine": {"kind": "simulated", "gpu": "H100", "speed": 20, "args": {"context-length": 4096}},
        "parameters": {
            "schedule-policy": ["fcfs", "lpm"],
            "schedule-conservativeness": {"choices": [1.5], "when": "schedule-policy == lpm and profile == small"},
            "profile": {
                "combinations": {"small": {**FLAGS["small"], "env.OMP_NUM_THREADS": 1}, "large": FLAGS["large"]}
            },
        },
        "constraints": "schedule-policy == lpm or profile == small",
        "workload": {"scenarios": "D(64,8)", "concurrency": 4, "warmup": 0, "duration": "300ms", "min_requests": 1},
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 4},
        "confirm": {"repeats": 0},
    }


def tuned_flags(trial: Trial) -> dict[str, str]:
    words = list(trial.argv)
    return {w.removeprefix("--"): words[i + 1] for i, w in enumerate(words) if w.removeprefix("--") in TUNED}


def expected_flags(trial: Trial) -> dict[str, str]:
    values = dict(trial.configuration.values)
    profile = values.pop("profile", None)
    return {n: str(v) for n, v in {**values, **FLAGS.get(str(profile), {})}.items()}


def test_exactly_the_active_flags_reach_the_servers(study: dict[str, Any], leftovers: Callable[[], list[str]]) -> None:
    plan = autotuner.plan_study(study)
    assert (plan.space_size, plan.launchable, plan.others, plan.trials) == (4, 3, 3, 4)
    result = autotuner.tune(study)
    assert [t.state for t in result.trials] == [TrialState.DONE] * 4
    texts = [t.configuration.text for t in result.trials]
    assert texts == [
        "(default)",
        "schedule-policy=fcfs profile=small",
        "schedule-policy=lpm schedule-conservativeness=1.5 profile=small",
        "schedule-policy=lpm profile=large",
    ]
    for trial in result.trials:
        assert tuned_flags(trial) == expected_flags(trial)
        assert {n: str(v) for n, v in trial.resolved.items() if n in TUNED and n in expected_flags(trial)} == {
            n: str(v) for n, v in trial.resolved.items() if n in expected_flags(trial)
        }
    rows = {row["trial"]: row for row in csv.DictReader(io.StringIO(export_text(result, "csv")))}
    conservativeness = [rows[str(n)]["parameter:schedule-conservativeness"] for n in range(4)]
    assert conservativeness == ["", "", "1.5", ""]
    assert [rows[str(n)]["parameter:profile"] for n in (1, 3)] == ["small", "large"]
    assert [rows[str(n)]["parameter:chunked-prefill-size"] for n in (1, 3)] == ["2048", ""]
    stored = json.loads(export_text(result, "json"))["trials"]
    assert "schedule-conservativeness" not in stored[1]["configuration"]["values"]
    older = json.loads(export_text(result, "older"))["all_results"]
    assert older[1]["parameters"] == {"schedule-policy": "fcfs", **FLAGS["small"], "env.OMP_NUM_THREADS": 1}
    best = best_json(result)
    if best["winner"]:
        trial = result.trials[best["winner"]]
        assert best["parameters"] == dict(trial.configuration.values)
        assert {n: str(v) for n, v in best["flags"].items()} == expected_flags(trial)
        assert shlex.split(best["command"])[-len(best["argv"]) :] == list(parts_of(tuple(best["argv"])))
    assert leftovers() == []
