"""Which servers read the same weights and compile the same code."""

from typing import Any

import pytest

from autotuner.plugins import loading
from autotuner.study.spec import EngineSpec

KINDS = {
    "sglang": ({"tp-size": 2}, {"chunked-prefill-size": 4096}, {"max-running-requests": 64, "schedule-policy": "lpm"}),
    "vllm": ({"tensor-parallel-size": 2}, {"max-num-batched-tokens": 4096}, {"gpu-memory-utilization": 0.8}),
    "llama_cpp": ({"load-mode": "dio"}, {"lazy-mode": "on"}, {"threads": 4, "ubatch-size": 128}),
    "tensorrt_llm": ({"tp-size": 2}, {"max-num-tokens": 4096}, {"kv-cache-config.enable-block-reuse": "false"}),
    "simulated": ({"tp-size": 2}, {"quantization": "fp8"}, {"stream-interval": 4}),
}
"""Two flags that decide what is loaded, and others that do not."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_decides_loading(kind: str) -> None:
    engine = loading.engine(EngineSpec(kind=kind))
    one, other, harmless = KINDS[kind]
    assert len({engine.loads({}), engine.loads(one), engine.loads(other), engine.loads({**one, **other})}) == 4
    assert engine.loads({**one, **harmless}) == engine.loads(one)
    assert engine.loads({"some-new-flag": 1}) != engine.loads({}), "what is not known may matter"
    assert engine.loading_flags is not None
    assert engine.loading_flags <= engine.catalog.keys()


@pytest.mark.parametrize("values", [{}, {"tp-size": 1}, {"tp-size": "1"}, {"tp-size": None}])
def test_a_default_that_is_written_out_loads_the_same(values: dict[str, Any]) -> None:
    engine = loading.engine(EngineSpec(kind="sglang"))
    assert engine.loads(values) == engine.loads({"dtype": "auto"})
