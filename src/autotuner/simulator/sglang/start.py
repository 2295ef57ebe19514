"""Startup of SGLang: from flags to a configuration, with its log lines and failures.

Defaults and formulas follow ``srt/arg_groups/memory_hook.py``, ``srt/mem_cache/kv_cache_configurator.py`` and the
graph runners of SGLang 0.5.23.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

from autotuner.predict.memory import MemoryUse, Shortage
from autotuner.predict.roofline import GIB, Replica
from autotuner.predict.sglang_memory import (
    ATTENTION_BYTES,
    MAX_PREFILL,
    SglangMemory,
    decode_graph_bytes,
    prefill_graph_bytes,
)
from autotuner.simulator.config import EngineConfig, EngineExitError, Log, cuda_out_of_memory
from autotuner.simulator.options import Simulation
from autotuner.simulator.starting import (
    SECRETS,
    RefusedError,
    gpu_of,
    make_replica,
    model_shape,
    without_secrets,
)
from autotuner.study.search.serving import Serving

VERSION = "0.5.23"
_NAMES = (
    "model_path served_model_name host port tp_size pp_size dp_size mem_fraction_static max_running_requests "
    "max_total_tokens chunked_prefill_size max_prefill_tokens schedule_policy schedule_conservativeness page_size "
    "context_length quantization kv_cache_dtype dtype disable_radix_cache disable_cuda_graph disable_decode_cuda_graph "
    "disable_prefill_cuda_graph cuda_graph_max_bs_decode cuda_graph_max_bs_prefill cuda_graph_bs_decode "
    "cuda_graph_backend_decode cuda_graph_backend_prefill enable_mixed_chunk disable_overlap_schedule "
    "prefill_decode_interval pp_max_micro_batch_size enable_metrics api_key decode_log_interval log_level"
)
MODELED = frozenset(_NAMES.split())
REFUSED = {
    "speculative_algorithm": "speculative decoding",
    "enable_dp_attention": "data parallel attention",
    "disaggregation_mode": "disaggregated prefill",
}
_DEFAULTS = {"tp_size": 1, "pp_size": 1, "dp_size": 1, "schedule_policy": "fcfs", "schedule_conservativeness": 1.0}
_MEMORY = SglangMemory()
_CAPTURE_HELP = (
    "Possible solutions:\n"
    "1. set --mem-fraction-static to a smaller value (e.g., 0.8 or 0.7)\n"
    "2. set --cuda-graph-max-bs-decode to a smaller value (e.g., 16)\n"
    "3. disable decode CUDA graph by --cuda-graph-backend-decode=disabled. (Not recommended. Huge performance loss)\n"
    "Open an issue on GitHub https://github.com/sgl-project/sglang/issues/new/choose \n"
)


def _died(error: str) -> EngineExitError:
    """The exit of a server whose scheduler process failed: it kills itself with SIGKILL."""
    return EngineExitError(
        "Scheduler hit an exception: Traceback (most recent call last):\n"
        '  File "/sgl-workspace/sglang/python/sglang/srt/managers/scheduler.py", line 6290, in run_scheduler_process\n'
        f"    scheduler = Scheduler(\n{error}\n\n"
        "Received sigquit from a child process. It usually means the child failed.",
        -9,
    )


class SGLangStart:
    """One startup."""

    def __init__(self, given: Mapping[str, Any], simulation: Simulation, log: Log) -> None:
        self._given = given
        self._simulation = simulation
        self._log = log
        self._tp = int(given.get("tp_size", 1))
        self._pp = int(given.get("pp_size", 1))
        self._dp = int(given.get("dp_size", 1))

    def run(self) -> EngineConfig:
        """Writes the log of the startup and returns the resolved configuration.

        Raises:
            EngineExitError: The engine refuses the flags or runs out of memory.
        """
        given = self._given
        for name, what in REFUSED.items():
            if given.get(name) not in (None, False, "null", "NONE"):
                raise EngineExitError(f"simulated: {what} (--{name.replace('_', '-')}) is not simulated", 1)
        try:
            return self._decided()
        except RefusedError as error:
            raise _died(str(error)) from None

    def _decided(self) -> EngineConfig:
        given = self._given
        gpu = gpu_of(self._simulation)
        shape = model_shape(given["model_path"], self._simulation)
        context = self._context(shape.context)
        serving = _MEMORY.settled(self.serving(), shape, gpu)
        chunk = serving.chunk or -1
        page = serving.page
        if chunk > 0 and chunk % page:
            raise RefusedError("AssertionError: chunked_prefill_size must be divisible by page_size")
        decode_graphs = serving.graph_max or 0
        prefill_graphs = serving.graph_max_prefill or 0
        fraction = serving.memory_fraction
        shown = without_secrets({**given, "mem_fraction_static": fraction})
        self._log(f"server_args=ServerArgs({', '.join(f'{k}={v!r}' for k, v in shown.items())})")
        self._log_unmodeled()
        if self._tp * self._pp * self._dp > self._simulation.gpu_count:
            raise RefusedError("torch.AcceleratorError: CUDA error: invalid device ordinal")
        if shape.heads % self._tp:
            raise RefusedError("AssertionError: assert self.total_num_heads % tp_size == 0")
        kv_dtype = str(given.get("kv_cache_dtype", "auto"))
        quantization = given.get("quantization")
        replica = make_replica(shape, gpu, self._tp, self._pp, quantization, kv_dtype)
        use = _MEMORY.use(replica, serving)
        self._load(replica, use)
        self._cache(replica, serving, use, kv_dtype)
        free = self._capture(replica, use, decode_graphs, prefill_graphs)
        tokens = use.kv_tokens
        running = self._running(serving, tokens)
        max_prefill = int(given.get("max_prefill_tokens", MAX_PREFILL))
        self._log(
            f"max_total_num_tokens={tokens}, chunked_prefill_size={chunk}, max_prefill_tokens={max_prefill}, "
            f"max_running_requests={running}, context_len={context}, available_gpu_mem={free / GIB:.2f} GB"
        )
        decided = {
            "mem_fraction_static": fraction,
            "chunked_prefill_size": chunk,
            "max_total_num_tokens": tokens,
            "max_running_requests": running,
            "pp_max_micro_batch_size": given.get("pp_max_micro_batch_size") or max(1, running // self._pp),
            "max_prefill_tokens": max_prefill,
            "context_length": context,
            "page_size": page,
            "cuda_graph_max_bs_decode": decode_graphs,
        }
        return EngineConfig(
            **self._requested(),
            replica=replica,
            replicas=self._dp,
            context=context,
            kv_tokens=tokens,
            page=page,
            max_running=running,
            max_prefill=max(max_prefill, context) if chunk <= 0 else max_prefill,
            chunk=chunk if chunk > 0 else None,
            decode_graph_max=decode_graphs,
            prefill_graph_max=prefill_graphs,
            room_bytes=free - ATTENTION_BYTES,
            resolved={**_DEFAULTS, **{k: v for k, v in given.items() if k not in SECRETS}, **decided},
        )

    def _requested(self) -> dict[str, Any]:
        """Fields of :class:`EngineConfig` that follow from the flags alone."""
        given = self._given
        return {
            "model_path": given["model_path"],
            "served_name": str(given.get("served_model_name") or given["model_path"]),
            "host": str(given.get("host", "127.0.0.1")),
            "port": int(given.get("port", 30000)),
            "prefix_cache": not given.get("disable_radix_cache", False),
            "overlap": not given.get("disable_overlap_schedule", False),
            "policy": self._policy(),
            "mixed": bool(given.get("enable_mixed_chunk", False)),
            "conservativeness": float(given.get("schedule_conservativeness", 1.0)),
            "decode_interval": int(given.get("prefill_decode_interval") or 0),
            "api_key": given.get("api_key"),
            "metrics": bool(given.get("enable_metrics", False)),
            "micro_batch": given.get("pp_max_micro_batch_size"),
            "decode_log_interval": int(given.get("decode_log_interval", 40)),
        }

    def _log_unmodeled(self) -> None:
        for name in sorted(set(self._given) - MODELED):
            self._log(f"simulated: --{name.replace('_', '-')} is accepted and has no effect")

    def _policy(self) -> str:
        policy = str(self._given.get("schedule_policy", "fcfs"))
        return "fcfs" if self._given.get("disable_radix_cache") and policy == "lpm" else policy

    def _context(self, derived: int) -> int:
        asked = self._given.get("context_length")
        if asked is not None and asked > derived:
            raise RefusedError(
                f"ValueError: Warning: User-specified context_length ({asked}) is greater than the derived "
                f"context_length ({derived}). This may lead to incorrect model outputs or CUDA errors."
            )
        return int(asked or derived)

    def serving(self) -> Serving:
        """What the flags say about memory and batches."""
        given = self._given
        chunk = given.get("chunked_prefill_size") or None
        requests = given.get("max_running_requests")
        sizes = [int(size) for size in given.get("cuda_graph_bs_decode") or ()]
        off = given.get("disable_cuda_graph", False)
        decode = not (
            off or given.get("disable_decode_cuda_graph") or given.get("cuda_graph_backend_decode") == "disabled"
        )
        prefill = not (
            off or given.get("disable_prefill_cuda_graph") or given.get("cuda_graph_backend_prefill") == "disabled"
        )
        return Serving(
            engine="sglang",
            simulated=True,
            tp=self._tp,
            pp=self._pp,
            dp=self._dp,
            weights=str(given.get("quantization") or ""),
            kv=str(given.get("kv_cache_dtype", "auto")),
            memory_fraction=given.get("mem_fraction_static"),
            max_tokens=given.get("max_total_tokens") or None,
            max_sequences=None if requests is None else max(1, requests),
            max_batched_tokens=given.get("max_prefill_tokens") or None,
            chunk=None if chunk is None else max(0, chunk),
            context=given.get("context_length") or None,
            page=int(given.get("page_size") or 1),
            graphs=decode,
            graph_max=max(sizes) if sizes else given.get("cuda_graph_max_bs_decode") or None,
            graph_max_prefill=(given.get("cuda_graph_max_bs_prefill") or None) if prefill else 0,
            prefix_cache=not given.get("disable_radix_cache", False),
        )

    def _load(self, replica: Replica, use: MemoryUse) -> None:
        """Loads the weights."""
        before = replica.gpu.memory_gb * GIB - use.parts["fixed"]
        self._log(f"Load weight begin. avail mem={before / GIB:.2f} GB")
        need = use.parts["weights"]
        if use.shortage is Shortage.WEIGHTS:
            asked = replica.linear_bytes(replica.model.hidden * max(replica.model.ffn, 1) * 2) / self._tp
            raise RefusedError(cuda_out_of_memory(asked, replica.gpu.memory_gb, 0.3 * asked))
        self._log(
            f"Load weight end. elapsed={self._simulation.start_s:.2f} s, type={replica.model.architecture}, "
            f"avail mem={(before - need) / GIB:.2f} GB, mem usage={need / GIB:.2f} GB."
        )

    def _cache(self, replica: Replica, serving: Serving, use: MemoryUse, dtype: str) -> None:
        """Allocates the KV cache."""
        fraction = serving.memory_fraction
        before = replica.gpu.memory_gb * GIB - use.parts["fixed"]
        free = before - use.parts["weights"]
        if use.budget <= 0:
            least = 1 - free / before
            raise RefusedError(
                "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static="
                f"{fraction}. Raise --mem-fraction-static above {ceil(least * 1000) / 1000:.3f} (minimum viable = 1 - "
                f"available/pre = {least:.4f}). If using speculative decoding, draft weights are now counted."
            )
        profiled = int(use.budget // replica.kv_bytes_per_token)
        if serving.max_tokens is not None and serving.max_tokens > profiled:
            self._log(
                f"max_total_tokens={serving.max_tokens} is larger than the profiled value {profiled}. "
                "Use the profiled value instead."
            )
        if use.shortage is Shortage.CACHE:
            raise RefusedError(
                "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. "
                f"Current value: mem_fraction_static={fraction}"
            )
        size = use.parts["kv"]
        kind = {"fp8_e5m2": "torch.float8_e5m2"}.get(dtype, "torch.float8_e4m3fn")
        kind = kind if dtype.startswith("fp8") else "torch.bfloat16"
        both = f"K size: {size / 2 / GIB:.2f} GB, V size: {size / 2 / GIB:.2f} GB"
        self._log(
            f"KV Cache is allocated. dtype: {kind}, #tokens: {use.kv_tokens}, "
            + (f"KV size: {size / GIB:.2f} GB" if replica.model.kv_rank else both)
        )
        self._log(f"Memory pool end. avail mem={(free - size) / GIB:.2f} GB")

    def _capture(self, replica: Replica, use: MemoryUse, decode: int, prefill: int) -> float:
        """Captures CUDA graphs; returns the bytes that remain free."""
        free = use.free + use.parts["graphs"]
        for name, size, need in (
            ("prefill", prefill, prefill_graph_bytes(prefill)),
            ("decode", decode, decode_graph_bytes(decode)),
        ):
            if not size:
                continue
            self._log(f"Capture {name} CUDA graph begin. backend=full, avail mem={free / GIB:.2f} GB")
            if need + ATTENTION_BYTES > free:
                error = cuda_out_of_memory(need, replica.gpu.memory_gb, free)
                raise RefusedError(f"Exception: Capture cuda graph failed: {error}\n{_CAPTURE_HELP}")
            free -= need
            self._log(
                f"Capture {name} CUDA graph end. elapsed=0.00 s, mem usage={need / GIB:.2f} GB, "
                f"avail mem={free / GIB:.2f} GB."
            )
        return free

    def _running(self, serving: Serving, tokens: int) -> int:
        asked = self._given.get("max_running_requests")
        got = _MEMORY.sequences(serving, tokens)
        if asked is not None and got < asked:
            self._log(
                f"max_running_requests was reduced from the requested {asked} to {got} (per dp worker) due to the "
                "available KV cache capacity."
            )
        return got
