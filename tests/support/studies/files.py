"""Study files that tests change in one place."""

from typing import Any

OLDER_TASK: dict[str, Any] = {
    "task_name": "old",
    "description": "words",
    "deployment_mode": "docker",
    "runtime_image_tag": "v1",
    "model": {"id_or_path": "org/model", "namespace": "autotuner"},
    "base_runtime": "sglang",
    "parameters": {"tp_size": [1, 2], "mem_frac": {"type": "choice", "values": [0.7, 0.8]}, "none": []},
    "optimization": {
        "strategy": "grid_search", "objective": "minimize_ttft", "max_iterations": 4, "timeout_per_iteration": 600
    },
    "benchmark": {
        "task": "text-to-text", "model_name": "served", "model_tokenizer": "org/model",
        "traffic_scenarios": ["D(100,100)"], "num_concurrency": [1, 4],
        "max_time_per_iteration": 10, "max_requests_per_iteration": 50, "additional_params": {"temperature": 0.0},
    },
    "slo": {
        "ttft": {"threshold": 1.0, "weight": 2.0},
        "latency": {"p90": {"threshold": 5.0, "weight": 2.0, "hard_fail": True, "fail_ratio": 0.2}},
        "steepness": 0.2,
    },
}  # fmt: skip
"""A task of the older tool, as JSON holds it."""

STUDY_FILE = """
name: s
model: m
engine: vllm
parameters:
  max-num-seqs: [8, 16]
  threads: {low: 1, high: 4}
workload: {scenarios: "D(8,8)", concurrency: [1, 8]}
objective: max output_throughput
slo: [p99 ttft <= 2s]
search: grid
"""
