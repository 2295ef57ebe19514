"""The flags that the simulator models, as catalogs of the two engines it plays.

Names, defaults and choices are those of SGLang 0.5.23 (``srt/arg_groups/fields``) and vLLM 0.32.0
(``engine/arg_utils.py``, ``config``); None is a default that the engine computes at start.
"""

from collections.abc import Mapping
from typing import Any, Literal

from autotuner.study.parameter import CatalogEntry, ValueType

Kind = Literal["int", "float", "bool", "string", "choice"]


def _flag(
    name: str,
    kind: Kind,
    meaning: str,
    default: Any = None,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    suggested: tuple[Any, ...] = (),
    aliases: tuple[str, ...] = (),
    off: str | None = None,
) -> CatalogEntry:
    return CatalogEntry(
        name=name,
        type=ValueType(kind=kind, low=low, high=high, choices=choices),
        default=default,
        meaning=meaning,
        aliases=aliases,
        off_flag=off,
        suggested=suggested,
    )


_SGLANG = (
    _flag("tp-size", "int", "GPUs that share each layer", 1, low=1, suggested=(1, 2, 4, 8),
          aliases=("tensor-parallel-size",)),
    _flag("pp-size", "int", "GPUs that hold consecutive layers", 1, low=1, aliases=("pipeline-parallel-size",)),
    _flag("dp-size", "int", "independent replicas", 1, low=1, suggested=(1, 2, 4), aliases=("data-parallel-size",)),
    _flag("mem-fraction-static", "float", "share of GPU memory for weights and KV cache", low=0.05, high=1.0,
          suggested=(0.8, 0.85, 0.9, 0.95)),
    _flag("max-running-requests", "int", "requests decoded at the same time", low=1, suggested=(16, 64, 256, 1024)),
    _flag("max-total-tokens", "int", "tokens of KV cache, at most", low=1),
    _flag("chunked-prefill-size", "int", "prompt tokens computed in one step; -1: prompts are never cut", low=-1,
          suggested=(1024, 2048, 4096, 8192, 16384)),
    _flag("max-prefill-tokens", "int", "prompt tokens of one prefill batch", 16384, low=1,
          suggested=(8192, 16384, 32768)),
    _flag("schedule-policy", "choice", "order of waiting requests", "fcfs",
          choices=("lpm", "random", "fcfs", "dfs-weight", "lof", "priority", "routing-key", "hrrn",
                   "shortest-prefill-first"),
          suggested=("fcfs", "lpm")),
    _flag("schedule-conservativeness", "float", "how much room is kept for running requests", 1.0, low=0.0,
          suggested=(0.3, 0.7, 1.0, 1.3)),
    _flag("page-size", "int", "tokens of one page of KV cache", low=1, suggested=(1, 16, 64)),
    _flag("context-length", "int", "longest request in tokens", low=1),
    _flag("quantization", "choice", "how weights are stored",
          choices=("fp8", "w8a8_fp8", "w8a8_int8", "awq", "awq_marlin", "gptq", "gptq_marlin", "mxfp4",
                   "modelopt_fp8", "modelopt_fp4", "moe_wna16"),
          suggested=("fp8",)),
    _flag("kv-cache-dtype", "choice", "how keys and values are stored", "auto",
          choices=("auto", "fp8_e5m2", "fp8_e4m3", "bf16"), suggested=("auto", "fp8_e4m3")),
    _flag("disable-radix-cache", "bool", "forget prompts instead of reusing their beginnings", False),
    _flag("disable-cuda-graph", "bool", "launch kernels one by one", False),
    _flag("cuda-graph-max-bs-decode", "int", "largest batch with a CUDA graph", low=1, suggested=(32, 128, 256)),
    _flag("enable-mixed-chunk", "bool", "decode in the same step as prompts", False),
    _flag("disable-overlap-schedule", "bool", "schedule only after a step has ended", False),
    _flag("prefill-decode-interval", "int", "decode steps before prompts are admitted again", low=0),
    _flag("enable-metrics", "bool", "serve /metrics", False),
)  # fmt: skip

_VLLM = (
    _flag("tensor-parallel-size", "int", "GPUs that share each layer", 1, low=1, suggested=(1, 2, 4, 8),
          aliases=("tp",)),
    _flag("pipeline-parallel-size", "int", "GPUs that hold consecutive layers", 1, low=1, aliases=("pp",)),
    _flag("data-parallel-size", "int", "independent replicas", 1, low=1, suggested=(1, 2, 4), aliases=("dp",)),
    _flag("gpu-memory-utilization", "float", "share of GPU memory that the engine may use", 0.92, low=0.05, high=1.0,
          suggested=(0.85, 0.9, 0.95), aliases=("device-memory-utilization",)),
    _flag("max-num-seqs", "int", "requests in one step", low=1, suggested=(16, 64, 256, 1024)),
    _flag("max-num-batched-tokens", "int", "tokens of one step", low=1, suggested=(2048, 4096, 8192, 16384)),
    _flag("max-model-len", "int", "longest request in tokens", low=-1),
    _flag("block-size", "int", "tokens of one block of KV cache", low=1, suggested=(16, 32)),
    _flag("enable-prefix-caching", "bool", "reuse the beginnings of prompts", True, off="no-enable-prefix-caching"),
    _flag("enable-chunked-prefill", "bool", "cut prompts to the step's tokens", True,
          off="no-enable-chunked-prefill"),
    _flag("long-prefill-token-threshold", "int", "tokens of one prompt in one step; 0: no limit", 0, low=0),
    _flag("quantization", "choice", "how weights are stored",
          choices=("fp8", "fbgemm_fp8", "awq", "awq_marlin", "gptq", "gptq_marlin", "mxfp4", "modelopt_fp4",
                   "experts_int8", "moe_wna16"),
          suggested=("fp8",), aliases=("q",)),
    _flag("kv-cache-dtype", "choice", "how keys and values are stored", "auto",
          choices=("auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"), suggested=("auto", "fp8")),
    _flag("enforce-eager", "bool", "launch kernels one by one", False, off="no-enforce-eager"),
    _flag("max-cudagraph-capture-size", "int", "most tokens of a step with a CUDA graph", low=1,
          suggested=(128, 256, 512)),
    _flag("async-scheduling", "bool", "schedule while the GPU computes", True, off="no-async-scheduling"),
)  # fmt: skip

SGLANG: Mapping[str, CatalogEntry] = {entry.name: entry for entry in _SGLANG}
VLLM: Mapping[str, CatalogEntry] = {entry.name: entry for entry in _VLLM}
