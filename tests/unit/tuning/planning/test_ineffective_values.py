"""Warnings about values that cannot differ under a load."""

import re
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.plugins import loading
from autotuner.study.check import CheckStatus
from autotuner.study_file.loader import parse_study
from autotuner.tuning.planning.ineffective_values import idle_values, single_values
from autotuner.tuning.planning.prepared_study import prepare

CLOSED = {"scenarios": "D(100,50)", "concurrency": [1, 32]}


def spec_of(engine: Any, parameters: Any, workload: Any = None) -> Any:
    data = {
        "name": "s",
        "model": "Qwen/Qwen3-8B",
        "engine": engine,
        "objective": "max output_throughput",
        "parameters": parameters,
        "workload": workload or CLOSED,
    }
    canonical = loading.engine(
        parse_study({**data, "parameters": {}}, source="s", folder=Path("/")).spec.engine
    ).canonical
    return parse_study(data, source="s", folder=Path("/"), canonical_of=lambda _: canonical).spec


def warned(engine: str, parameters: Any, workload: Any = None) -> list[str]:
    spec = spec_of(engine, parameters, workload)
    return [p.why for p in idle_values(loading.engine(spec.engine), spec.parameters, spec.workload)]


@pytest.mark.parametrize(
    ("engine", "parameters", "parameter", "numbers"),
    [
        ("vllm", {"max-num-seqs": [16, 128, 512]}, "max-num-seqs", [128, 512, 32]),
        ("vllm", {"max-num-seqs": [32, 64, 128]}, "max-num-seqs", [32, 64, 128, 32]),
        ("vllm", {"max-num-seqs": {"low": 8, "high": 256}}, "max-num-seqs", [32, 256, 32]),
        ("sglang", {"max-running-requests": [64, 128]}, "max-running-requests", [64, 128, 32]),
        ("sglang", {"cuda-graph-max-bs": [64, 160]}, "cuda-graph-max-bs-decode", [64, 160, 32]),
        ("sglang", {"chunked-prefill-size": [8192, 16384]}, "chunked-prefill-size", [8192, 16384, 214, 32]),
        ("sglang", {"context-length": [4096, 8192]}, "context-length", [4096, 8192, 264]),
        ("sglang", {"disable-radix-cache": [True, False]}, "disable-radix-cache", []),
        ("llama_cpp", {"parallel": [32, 64]}, "parallel", [32, 64, 32]),
        ("tensorrt_llm", {"max-batch-size": [64, 128]}, "max-batch-size", [64, 128, 32]),
        ("simulated", {"max-running-requests": [64, 128]}, "max-running-requests", [64, 128, 32]),
    ],
)
def test_values_beyond_the_load_raise_a_warning(
    engine: str, parameters: Any, parameter: str, numbers: list[int], snapshot: SnapshotAssertion
) -> None:
    [why] = warned(engine, parameters)
    assert why.startswith(f"{parameter} ")
    assert [int(number) for number in re.findall(r"\d+", why)] == numbers
    assert why == snapshot


@pytest.mark.parametrize(
    ("engine", "parameters", "workload"),
    [
        ("vllm", {"max-num-seqs": [8, 16, 32]}, CLOSED),
        ("vllm", {"max-num-seqs": [16, 512, None]}, CLOSED),
        ("vllm", {"max-num-seqs": [128, 512]}, {"scenarios": "D(100,50)", "rates": 4}),
        ("vllm", {"max-num-seqs": [128, 512]}, {"scenarios": "D(100,50)", "concurrency": 4, "rates": 4}),
        ("vllm", {"max-num-batched-tokens": [1024, 4096]}, CLOSED),
        ("vllm", {"max-num-batched-tokens": [65536, 131072]}, {"scenarios": "dataset:x.jsonl", "concurrency": 8}),
        ("vllm", {"enable-prefix-caching": [True, False]}, {**CLOSED, "prefix_tokens": 100}),
        (
            "vllm",
            {"enable-prefix-caching": [True, False]},
            {**CLOSED, "scenarios": "D(100,50) prefixes=4 prefix_tokens=100"},
        ),
        ("vllm", {"enable-prefix-caching": [True, False]}, {"scenarios": "dataset:x.jsonl", "concurrency": 8}),
        ("sglang", {"schedule-policy": ["fcfs", "lpm"]}, CLOSED),
        ("sglang", {"chunked-prefill-size": [-1, 512]}, CLOSED),
        ("vllm", {"seed": [1, 2]}, CLOSED),
    ],
)
def test_no_warning_where_values_may_differ(engine: str, parameters: Any, workload: Any) -> None:
    assert warned(engine, parameters, workload) == []


def test_queue_needs_two_requests() -> None:
    alone = {"scenarios": "D(100,50)", "concurrency": 1}
    [why] = warned("sglang", {"schedule-policy": ["fcfs", "lpm"]}, alone)
    assert re.findall(r"\d+", why) == ["1"]


@pytest.mark.anyio
async def test_plan_warns_and_keeps_all_values() -> None:
    prepared = await prepare(spec_of({"kind": "vllm", "device": "cpu"}, {"max-num-seqs": [16, 128, 512]}))
    assert sum(prepared.valid(c) for c in prepared.space.grid()) == 3
    details = [c.detail for c in await prepared.preflight() if c.status is CheckStatus.WARN]
    assert [re.findall(r"\d+", detail) for detail in details if "max-num-seqs" in detail] == [["128", "512", "32"]]


def test_single_values_of_a_flag_that_takes_several() -> None:
    def remedies(values: list[Any]) -> list[str]:
        spec = spec_of("sglang", {"cuda-graph-bs": values})
        return [p.remedy for p in single_values(loading.engine(spec.engine), spec.parameters)]

    (remedy,) = remedies([1, 2, 4])
    assert "[[1, 2, 4]]" in remedy
    assert remedies([[1, 2], [1, 2, 4], 8]) == []
