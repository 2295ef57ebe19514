"""Older tasks read into a StudySpec; nothing is ignored silently."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import Problem, UsageError
from autotuner.study.spec import EngineSpec
from autotuner.study_file.loader import LoadedStudy, parse_study
from autotuner.study_file.writer import render_study
from support.studies.files import OLDER_TASK


def load(**changes: Any) -> LoadedStudy:
    task = {k: v for k, v in {**OLDER_TASK, **changes}.items() if v is not ...}
    return parse_study(json.dumps(task, indent=1), source="t.json", folder=Path("/here"))


def problems(**changes: Any) -> tuple[Problem, ...]:
    with pytest.raises(UsageError) as caught:
        load(**changes)
    return caught.value.problems


def test_every_key_of_a_task_is_used_or_noted() -> None:
    loaded = load()
    spec = loaded.spec
    assert (spec.name, spec.model.path, spec.model.name) == ("old", "org/model", "served")
    assert (spec.engine.kind, spec.deploy.kind, spec.deploy.settings) == ("sglang", "docker", {"image_tag": "v1"})
    assert {p.name: p.domain.grid() for p in spec.parameters} == {"tp-size": (1, 2), "mem-fraction-static": (0.7, 0.8)}
    assert [o.text for o in spec.objectives] == ["min mean ttft"]
    assert (spec.search.kind, spec.search.trials, spec.search.trial_timeout_s) == ("grid", 5, 1200)
    assert [level.text for level in spec.workload.levels] == ["concurrency=1", "concurrency=4"]
    assert (spec.workload.duration_s, spec.workload.requests) == (600, 50), "genai-bench's time is minutes"
    assert spec.workload.extra_body == {"temperature": 0.0}
    assert spec.workload.tokenizer is None
    assert [(s.text, s.hard, s.weight) for s in spec.slos] == [
        ("mean ttft <= 1000ms", False, 1.0),
        ("p90 e2e_latency <= 6000ms", True, 1.0),
        ("p90 e2e_latency <= 5000ms", False, 1.0),
    ]
    assert [note.split(" ")[0] for note in loaded.notes] == [
        "model.namespace",
        "parameters.none",
        "benchmark.model_tokenizer",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("minimize_latency", "min mean e2e_latency"),
        ("maximize_throughput", "max output_throughput"),
        ("minimize_tpot", "min mean tpot"),
    ],
)
def test_objectives(name: str, text: str) -> None:
    assert [o.text for o in load(optimization={"objective": name}).spec.objectives] == [text]


def test_lines_point_into_the_task() -> None:
    [problem] = problems(benchmark={**OLDER_TASK["benchmark"], "num_concurrency": [1, 0]})
    number = json.dumps({**OLDER_TASK, "benchmark": {**OLDER_TASK["benchmark"], "num_concurrency": [1, 0]}}, indent=1)
    row = 1 + next(i for i, text in enumerate(number.splitlines()) if text.strip() == "0")
    assert (problem.where, problem.value) == (f"t.json:{row} workload.concurrency[1]", "0")


def test_an_engine_that_is_not_installed_is_left_to_the_plan_to_report() -> None:
    def canonical_of(spec: EngineSpec) -> Any:
        raise UsageError(Problem(where="engine.kind", value=spec.kind, why="unknown kind"))

    loaded = parse_study(OLDER_TASK, source="t", folder=Path("/here"), canonical_of=canonical_of)
    assert loaded.spec.engine.kind == "sglang"


def test_the_name_of_an_ome_runtime_determines_engine_and_settings() -> None:
    loaded = load(deployment_mode="ome", base_runtime="sglang-llama-small", clusterbasemodel_config={"preset": "p"})
    spec = loaded.spec
    assert (spec.engine.kind, spec.deploy.kind) == ("sglang", "ome")
    assert spec.deploy.settings == {"runtime": "sglang-llama-small", "namespace": "autotuner", "image_tag": "v1"}
    assert "clusterbasemodel_config" in [note.partition(":")[0] for note in loaded.notes]


@pytest.mark.parametrize(
    ("base", "runtime", "engine"),
    [
        ("llama-3-2-1b-instruct-rt", "llama-3-2-1b-instruct-rt", "sglang"),
        ("srt-qwen3-0-6b", "srt-qwen3-0-6b", "sglang"),
        ("vllm-deepseek", "vllm-deepseek", "vllm"),
        ("sglang", "small", "sglang"),
    ],
)
def test_the_base_runtime_of_an_ome_task(base: str, runtime: str, engine: str) -> None:
    """``mode`` on the command line overrides the task's."""
    task = {**OLDER_TASK, "base_runtime": base, "clusterservingruntime_config": {"preset": "small"}}
    spec = parse_study(task, source="t", folder=Path("/here"), mode="ome").spec
    assert (spec.deploy.kind, spec.deploy.settings["runtime"], spec.engine.kind) == ("ome", runtime, engine)
    assert spec.deploy.settings["namespace"] == "autotuner"
    assert spec.model.name is None, "the runtime's own name for it"


@pytest.mark.parametrize(("benchmark", "ignore_eos"), [(None, True), ("native", True), ("ome_job", False)])
def test_the_benchmark_decides_about_ignore_eos(benchmark: str | None, ignore_eos: bool) -> None:
    """A BenchmarkJob cannot request exact lengths, and tasks have no key to allow other lengths."""
    loaded = parse_study(OLDER_TASK, source="t", folder=Path("/here"), mode="ome", benchmark=benchmark)
    assert loaded.spec.workload.ignore_eos is ignore_eos
    assert any("BenchmarkJobs send no ignore_eos" in note for note in loaded.notes) is not ignore_eos


def test_a_task_for_ome_in_plain_pods() -> None:
    """Without OME, the engine still follows from the runtime's name, and the namespace is kept."""
    spec = parse_study(
        {**OLDER_TASK, "base_runtime": "llama-3-2-1b-instruct-rt"}, source="t", folder=Path("/here"), mode="kubernetes"
    ).spec
    assert (spec.deploy.kind, spec.engine.kind) == ("kubernetes", "sglang")
    assert spec.deploy.settings["namespace"] == "autotuner"
    assert "runtime" not in spec.deploy.settings


def test_a_task_can_be_rendered_as_a_study() -> None:
    spec = load().spec
    assert parse_study(render_study(spec), source="x.yaml", folder=Path("/here")).spec == spec


@pytest.mark.parametrize(
    ("runtime", "kind", "noted"),
    [
        ("chat-8b-instruct-rt", "ome", True),
        ("vllm-llama-small", "ome", True),
        ("sglang", "process", False),
        ("llama.cpp", "process", False),
    ],
)
def test_a_runtime_s_name_without_a_mode_means_ome(runtime: str, kind: str, noted: bool) -> None:
    """The older tool deployed with OME by default; a task that names an engine was run elsewhere."""
    task = {k: v for k, v in OLDER_TASK.items() if k != "deployment_mode"} | {"base_runtime": runtime}
    loaded = parse_study(task, source="t", folder=Path("/here"))
    assert loaded.spec.deploy.kind == kind
    assert any("--mode docker" in note for note in loaded.notes) is noted


def test_the_remedy_for_an_unknown_engine_mentions_ome() -> None:
    def unknown(spec: EngineSpec) -> Callable[[str], str]:
        raise UsageError(Problem(where="engine.kind", value=spec.kind, why="unknown kind", remedy="known: sglang"))

    task = {**OLDER_TASK, "base_runtime": "chat-8b-instruct-rt"}
    with pytest.raises(UsageError) as error:
        parse_study(task, source="t", folder=Path("/here"), mode="docker", canonical_of=unknown)
    [problem] = error.value.problems
    assert problem.remedy.endswith("--mode ome")
