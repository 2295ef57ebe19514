"""``quant_config`` and ``parallel_config`` of older tasks, and the shapes of the older tool's examples."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.engines.shared.portable import expand
from autotuner.engines.shared.portable_tables import TABLES
from autotuner.study.base import Value
from autotuner.study_file.loader import LoadedStudy, parse_study
from autotuner.study_file.writer import render_study


def load(runtime: str = "sglang", **keys: Any) -> LoadedStudy:
    """A task with these keys; ``...`` leaves one out."""
    task: dict[str, Any] = {
        "task_name": "old",
        "deployment_mode": "docker",
        "model": {"id_or_path": "m"},
        "base_runtime": runtime,
        "optimization": {"strategy": "grid_search"},
        "benchmark": {},
        **keys,
    }
    task = {key: value for key, value in task.items() if value is not ...}
    return parse_study(task, source="t.json", folder=Path("/here"))


def parts(loaded: LoadedStudy) -> tuple[dict[str, Value], dict[str, list[Value]]]:
    """Fixed and tuned values."""
    spec = loaded.spec
    assert parse_study(render_study(spec), source="x.yaml", folder=Path("/here")).spec == spec
    return dict(spec.engine.args), {p.name: list(p.domain.grid() or ()) for p in spec.parameters}


@pytest.mark.parametrize(
    ("runtime", "keys", "fixed", "tuned"),
    [
        ("vllm", {"quant_config": {"gemm_dtype": "auto", "kvcache_dtype": ["auto", "fp8"], "moe_dtype": "fp16"}},
         {"quantization.moe": "fp16"}, {"quantization.kv-cache": ["auto", "fp8"]}),
        ("sglang", {"quant_config": {"kvcache_dtype": ["auto", "fp8"], "gemm_dtype": []}},
         {}, {"quantization.kv-cache": ["auto", "fp8_e5m2"]}),
        ("sglang", {"quant_config": {"attention_dtype": ["auto", "fp8", "fp8_e4m3"]}},
         {}, {"attention-backend": [None, "flashinfer"]}),
        ("vllm", {"quant_config": {"attention_dtype": "fp8"}}, {"quantization.attention": "fp8"}, {}),
        ("sglang", {"quant_config": {"presets": ["default", "dynamic-fp8"], "gemm_dtype": "fp8"}},
         {"quantization.gemm": "fp8"}, {"quantization.preset": ["default", "dynamic-fp8"]}),
        ("vllm", {"parallel_config": {"tp": [1, 2], "pp": 1, "dcp": 2, "enable_expert_parallel": [True, False]}},
         {"parallelism.pp": 1, "decode-context-parallel-size": 2},
         {"parallelism.tp": [1, 2], "enable-expert-parallel": [True, False]}),
        ("sglang", {"parallel_config": {"tp": 8, "dcp": [1, 8], "moe_dense_tp": 1}},
         {"parallelism.tp": 8, "moe-dense-tp-size": 1}, {"dcp-size": [1, 8]}),
        ("tensorrt-llm", {"parallel_config": {"tp": 8, "cp": 2, "moe_ep": [2, 4], "presets": "large-model-tp"}},
         {"parallelism.tp": 8, "parallelism.cp": 2, "parallelism.preset": "large-model-tp"},
         {"parallelism.ep": [2, 4]}),
        ("sglang", {"quant_config": None, "parallel_config": {}}, {}, {}),
    ],
)  # fmt: skip
def test_keys(runtime: str, keys: dict[str, Any], fixed: dict[str, Value], tuned: dict[str, list[Value]]) -> None:
    assert parts(load(runtime, **keys)) == (fixed, tuned)


def test_ignored_keys_are_noted() -> None:
    loaded = load(quant_config={"attention_dtype": "fp8", "moe_dtype": []})
    assert [note.split(" ")[0] for note in loaded.notes] == ["quant_config.moe_dtype", "quant_config.attention_dtype"]


CHOICE = {"type": "choice"}
EXAMPLES: list[tuple[str, dict[str, Any], tuple[str, str], dict[str, Value], dict[str, list[Value]]]] = [
    ("bayesian_task",
     {"deployment_mode": ..., "runtime_image_tag": "v0.5.2-cu126",
      "parameters": {"tp-size": [1, 2], "schedule-policy": ["lpm", "fcfs"], "chunked-prefill-size": [512, 4096]}},
     ("sglang", "process"), {}, {"tp-size": [1, 2], "schedule-policy": ["lpm", "fcfs"],
                                 "chunked-prefill-size": [512, 4096]}),
    ("docker_task", {"parameters": {"tp-size": [1], "mem-fraction-static": [0.7, 0.8]}}, ("sglang", "docker"), {},
     {"tp-size": [1], "mem-fraction-static": [0.7, 0.8]}),
    ("docker_task_minimal_slo", {"parameters": {"tp-size": [1, 2]}, "slo": {"latency": {"p99": {"threshold": 10.0}}}},
     ("sglang", "docker"), {}, {"tp-size": [1, 2]}),
    ("ome_with_presets_task",
     {"deployment_mode": "ome", "clusterbasemodel_config": {"preset": "m"}, "parameters": {"tp-size": [1]},
      "clusterservingruntime_config": {"preset": "r"}},
     ("sglang", "ome"), {}, {"tp-size": [1]}),
    ("parallel_config_test",
     {"parallel_config": {"tp": [2, 4], "dp": [1, 2]}, "parameters": {"mem-fraction-static": [0.85]}},
     ("sglang", "docker"), {}, {"mem-fraction-static": [0.85], "parallelism.tp": [2, 4], "parallelism.dp": [1, 2]}),
    ("pvc_task", {"deployment_mode": ..., "storage": {"type": "pvc", "pvc_name": "p"}, "parameters": {"tp-size": [1]}},
     ("sglang", "ome"), {}, {"tp-size": [1]}),
    ("quant_custom_task",
     {"parameters": {"tp-size": [1, 2]}, "quant_config": {
         "gemm_dtype": "fp8", "kvcache_dtype": "fp8_e5m2", "attention_dtype": "fp8", "moe_dtype": "auto"}},
     ("sglang", "docker"),
     {"quantization.gemm": "fp8", "quantization.kv-cache": "fp8_e5m2", "attention-backend": "flashinfer"},
     {"tp-size": [1, 2]}),
    ("quant_multi_preset_task",
     {"parameters": {"tp-size": [1]}, "quant_config": {"presets": ["default", "kv-cache-fp8", "dynamic-fp8"]}},
     ("sglang", "docker"), {}, {"tp-size": [1], "quantization.preset": ["default", "kv-cache-fp8", "dynamic-fp8"]}),
    ("quant_preset_task",
     {"parameters": {"mem-fraction-static": [0.85, 0.9]}, "quant_config": {"preset": "kv-cache-fp8"}},
     ("sglang", "docker"), {"quantization.preset": "kv-cache-fp8"}, {"mem-fraction-static": [0.85, 0.9]}),
    ("simple_task",
     {"deployment_mode": ..., "base_runtime": "sglang-llama-small", "clusterbasemodel_config": {"preset": "m"},
      "parameters": {"tp_size": {**CHOICE, "values": [1]}, "mem_frac": {**CHOICE, "values": [0.8]}}},
     ("sglang", "ome"), {}, {"tp-size": [1], "mem-fraction-static": [0.8]}),
    ("docker_task_advanced", {"parameters": {"tp-size": [1], "chunked-prefill-size": [4096, 8192]}},
     ("sglang", "docker"), {}, {"tp-size": [1], "chunked-prefill-size": [4096, 8192]}),
    ("docker_task_with_slo",
     {"parameters": {"tp-size": [1, 2]}, "slo": {"tpot": {"threshold": 0.05, "weight": 2.0}, "steepness": 0.1}},
     ("sglang", "docker"), {}, {"tp-size": [1, 2]}),
    ("tuning_task",
     {"deployment_mode": ..., "base_runtime": "llama-3-2-1b-instruct-rt",
      "parameters": {"tp_size": {**CHOICE, "values": [1]}, "max_total_tokens": {**CHOICE, "values": [4096, 8192]}}},
     ("sglang", "ome"), {}, {"tp-size": [1], "max-total-tokens": [4096, 8192]}),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "where", "fixed", "tuned"), [e[1:] for e in EXAMPLES], ids=[e[0] for e in EXAMPLES])
def test_shapes_of_the_older_examples(
    keys: dict[str, Any], where: tuple[str, str], fixed: dict[str, Value], tuned: dict[str, list[Value]]
) -> None:
    loaded = load(**keys)
    assert (loaded.spec.engine.kind, loaded.spec.deploy.kind) == where
    assert parts(loaded) == (fixed, tuned)
    if where[0] not in TABLES:
        return  # the name of a runtime in the cluster, which says nothing of an engine
    for point in [fixed, *({**fixed, name: value} for name, values in tuned.items() for value in values)]:
        assert not [n for n in expand(loaded.spec.engine.kind, point) if "." in n]
