"""Values that cannot differ under a load: what is warned of, and what is not."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.plugins import loading
from autotuner.study_file.loader import parse_study
from autotuner.tuning.planning.load_checks import idle_values, single_values
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
    ("engine", "parameters", "said"),
    [
        ("vllm", {"max-num-seqs": [16, 128, 512]}, "max-num-seqs 128 and 512 cannot differ at concurrency 32"),
        ("vllm", {"max-num-seqs": [32, 64, 128]}, "max-num-seqs 32, 64 and 128 cannot differ at concurrency 32"),
        ("vllm", {"max-num-seqs": {"low": 8, "high": 256}}, "max-num-seqs 32 to 256 cannot differ at concurrency 32"),
        ("sglang", {"max-running-requests": [64, 128]}, "cannot differ at concurrency 32"),
        ("sglang", {"cuda-graph-max-bs": [64, 160]}, "cuda-graph-max-bs-decode 64 and 160 cannot differ"),
        ("sglang", {"chunked-prefill-size": [8192, 16384]}, "with prompts of at most 214 tokens at concurrency 32"),
        ("sglang", {"context-length": [4096, 8192]}, "with requests of at most 264 tokens"),
        ("sglang", {"disable-radix-cache": [True, False]}, "without prompts that share a beginning"),
        ("llama_cpp", {"parallel": [32, 64]}, "parallel 32 and 64 cannot differ at concurrency 32"),
        ("tensorrt_llm", {"max-batch-size": [64, 128]}, "cannot differ at concurrency 32"),
        ("simulated", {"max-running-requests": [64, 128]}, "cannot differ at concurrency 32"),
    ],
)
def test_values_beyond_the_load_are_warned_of(engine: str, parameters: Any, said: str) -> None:
    [why] = warned(engine, parameters)
    assert said in why


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
        ("vllm", {"enable-prefix-caching": [True, False]}, {"scenarios": "dataset:x.jsonl", "concurrency": 8}),
        ("sglang", {"schedule-policy": ["fcfs", "lpm"]}, CLOSED),
        ("sglang", {"chunked-prefill-size": [-1, 512]}, CLOSED),
        ("vllm", {"seed": [1, 2]}, CLOSED),
    ],
)
def test_nothing_is_said_where_values_may_differ(engine: str, parameters: Any, workload: Any) -> None:
    assert warned(engine, parameters, workload) == []


def test_a_queue_needs_a_second_request() -> None:
    alone = {"scenarios": "D(100,50)", "concurrency": 1}
    [why] = warned("sglang", {"schedule-policy": ["fcfs", "lpm"]}, alone)
    assert "concurrency 1" in why


@pytest.mark.anyio
async def test_plan_warns_and_leaves_nothing_out() -> None:
    prepared = await prepare(spec_of({"kind": "vllm", "device": "cpu"}, {"max-num-seqs": [16, 128, 512]}))
    assert sum(prepared.valid(c) for c in prepared.space.grid()) == 3
    assert any("128 and 512 cannot differ" in c.detail for c in await prepared.preflight())


def test_single_values_of_a_flag_that_takes_several_are_pointed_out() -> None:
    def said(values: list[Any]) -> list[str]:
        spec = spec_of("sglang", {"cuda-graph-bs": values})
        return [p.remedy for p in single_values(loading.engine(spec.engine), spec.parameters)]

    assert said([1, 2, 4]) == ["write [[1, 2, 4]] to try them as one list"]
    assert said([[1, 2], [1, 2, 4], 8]) == []
