"""Startup of vLLM: from flags to a configuration, with its log lines and failures.

Defaults and formulas follow ``engine/arg_utils.py``, ``v1/worker/gpu_worker.py`` and ``v1/core/kv_cache_utils.py`` of
vLLM 0.32.0.
"""

from collections.abc import Mapping
from typing import Any

from autotuner.predict.memory import MemoryUse, Shortage
from autotuner.predict.roofline import GIB, Replica
from autotuner.predict.vllm_memory import PAGE, UTILIZATION, VllmMemory
from autotuner.simulator.config import EngineConfig, EngineExitError, Log, cuda_out_of_memory
from autotuner.simulator.options import Simulation
from autotuner.simulator.starting import RefusedError, gpu_of, make_replica, model_shape, without_secrets
from autotuner.study.search.serving import Serving

VERSION = "0.32.0"
_NAMES = (
    "model_tag model served_model_name host port tensor_parallel_size pipeline_parallel_size data_parallel_size "
    "gpu_memory_utilization max_num_seqs max_num_batched_tokens max_model_len block_size enable_prefix_caching "
    "enable_chunked_prefill long_prefill_token_threshold kv_cache_dtype quantization dtype enforce_eager "
    "max_cudagraph_capture_size cudagraph_capture_sizes kv_cache_memory_bytes async_scheduling api_key "
    "uvicorn_log_level disable_log_stats"
)
MODELED = frozenset(_NAMES.split())
REFUSED = {
    "speculative_config": "speculative decoding",
    "spec_method": "speculative decoding",
    "kv_transfer_config": "disaggregated prefill",
    "headless": "a server without an API",
}
_MEMORY = VllmMemory()
_HINT = "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."


class VllmStart:
    """One startup."""

    def __init__(self, given: Mapping[str, Any], simulation: Simulation, log: Log) -> None:
        self._given = given
        self._simulation = simulation
        self._log = log
        self._tp = int(given.get("tensor_parallel_size", 1))
        self._pp = int(given.get("pipeline_parallel_size", 1))
        self._dp = int(given.get("data_parallel_size", 1))
        self._model = str(given.get("model_tag") or given.get("model") or "Qwen/Qwen3-0.6B")

    def run(self) -> EngineConfig:
        """Writes the log of the startup and returns the resolved configuration.

        Raises:
            EngineExitError: The engine refuses the flags or runs out of memory.
        """
        given = self._given
        self._log(f"vLLM server version {VERSION}, serving model {self._model}")
        self._log(f"non-default args: {without_secrets(given)}")
        for name in sorted(set(given) - MODELED - set(REFUSED)):
            self._log(f"simulated: --{name.replace('_', '-')} is accepted and has no effect")
        for name, what in REFUSED.items():
            if given.get(name):
                raise EngineExitError(f"simulated: {what} (--{name.replace('_', '-')}) is not simulated", 1)
        try:
            return self._decided()
        except RefusedError as error:
            raise EngineExitError(
                f"EngineCore failed to start.\nTraceback (most recent call last):\n{error}\n"
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
                1,
            ) from None

    def _decided(self) -> EngineConfig:
        given = self._given
        gpu = gpu_of(self._simulation)
        shape = model_shape(self._model, self._simulation)
        context = self._context(shape.context)
        serving = _MEMORY.settled(self.serving(), shape, gpu)
        seqs = serving.max_sequences or 1
        batched = serving.max_batched_tokens or 1
        chunked = bool(given.get("enable_chunked_prefill", True))
        self._check(shape.heads, seqs, batched, context, chunked=chunked)
        kv_dtype = str(given.get("kv_cache_dtype", "auto"))
        quantization = given.get("quantization")
        replica = make_replica(shape, gpu, self._tp, self._pp, quantization, kv_dtype)
        graphs = serving.graph_max or 0
        block = serving.page
        use = _MEMORY.use(replica, serving)
        self._load(replica, use)
        self._cache(replica, serving, use)
        tokens = use.kv_tokens
        threshold = int(given.get("long_prefill_token_threshold") or 0)
        names = given.get("served_model_name")
        keys = given.get("api_key")
        resolved = {
            "gpu_memory_utilization": serving.memory_fraction,
            "block_size": block,
            "num_gpu_blocks": tokens // block,
            "cache_dtype": kv_dtype,
            "enable_prefix_caching": bool(given.get("enable_prefix_caching", True)),
            "max_num_seqs": seqs,
            "max_num_batched_tokens": batched,
            "max_model_len": context,
        }
        return EngineConfig(
            model_path=self._model,
            served_name=str((names[0] if isinstance(names, list) else names) if names else self._model),
            host=str(given.get("host") or "0.0.0.0"),  # noqa: S104 - as the engine does
            port=int(given.get("port", 8000)),
            replica=replica,
            replicas=self._dp,
            context=context,
            kv_tokens=tokens,
            page=block,
            max_running=seqs,
            max_prefill=batched,
            chunk=(threshold or batched) if chunked else None,
            prefix_cache=bool(given.get("enable_prefix_caching", True)),
            decode_graph_max=graphs,
            prefill_graph_max=graphs,
            overlap=bool(given.get("async_scheduling", True)),
            api_key=str(keys[0]) if keys else None,
            resolved=resolved,
        )

    def _context(self, derived: int) -> int:
        asked = self._given.get("max_model_len")
        if asked in (None, -1):
            return derived
        if asked > derived:
            raise RefusedError(
                f"ValueError: User-specified max_model_len ({asked}) is greater than the derived max_model_len "
                f"(max_position_embeddings={derived} in model's config.json)."
            )
        return int(asked)

    def serving(self) -> Serving:
        """What the flags say about memory and batches."""
        given = self._given
        sizes = [int(size) for size in given.get("cudagraph_capture_sizes") or ()]
        threshold = int(given.get("long_prefill_token_threshold") or 0)
        context = given.get("max_model_len")
        cache = given.get("kv_cache_memory_bytes")
        return Serving(
            engine="vllm",
            simulated=True,
            tp=self._tp,
            pp=self._pp,
            dp=self._dp,
            weights=str(given.get("quantization") or ""),
            kv=str(given.get("kv_cache_dtype", "auto")),
            memory_fraction=given.get("gpu_memory_utilization"),
            static_gb=float(cache) / GIB if cache else None,
            max_sequences=given.get("max_num_seqs") or None,
            max_batched_tokens=given.get("max_num_batched_tokens") or None,
            chunk=(threshold or None) if given.get("enable_chunked_prefill", True) else 0,
            context=None if context in (None, -1) else context,
            page=int(given.get("block_size") or PAGE),
            graphs=not given.get("enforce_eager", False),
            graph_max=max(sizes) if sizes else given.get("max_cudagraph_capture_size") or None,
            prefix_cache=bool(given.get("enable_prefix_caching", True)),
        )

    def _check(self, heads: int, seqs: int, batched: int, context: int, *, chunked: bool) -> None:
        if self._tp * self._pp * self._dp > self._simulation.gpu_count:
            raise RefusedError(
                f"ValueError: World size ({self._tp * self._pp * self._dp}) is larger than the number of available "
                f"GPUs ({self._simulation.gpu_count}) in this node. If this is intentional and you are using:\n"
                "- ray, set '--distributed-executor-backend ray'.\n- multiprocessing, set '--nnodes' appropriately."
            )
        if heads % self._tp:
            raise RefusedError(
                f"ValueError: Total number of attention heads ({heads}) must be divisible by tensor parallel size "
                f"({self._tp})."
            )
        if batched < context and not chunked:
            raise RefusedError(
                f"ValueError: max_num_batched_tokens ({batched}) is smaller than max_model_len ({context}). This "
                "effectively limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject longer "
                "sequences. Please increase max_num_batched_tokens or decrease max_model_len."
            )
        if batched < seqs:
            raise RefusedError(
                f"ValueError: max_num_batched_tokens ({batched}) must be greater than or equal to max_num_seqs "
                f"({seqs})."
            )

    def _load(self, replica: Replica, use: MemoryUse) -> None:
        """Loads the weights."""
        total = replica.gpu.memory_gb * GIB
        free = total - use.parts["fixed"]
        asked = float(self._given.get("gpu_memory_utilization", UTILIZATION))
        if use.shortage is Shortage.UTILIZATION:
            raise RefusedError(
                f"ValueError: Free memory on device cuda:0 ({free / GIB:.2f}/{total / GIB:.2f} GiB) on startup is less "
                f"than desired GPU memory utilization ({asked}, {asked * total / GIB:.2f} GiB). Decrease GPU memory "
                "utilization or reduce GPU memory used by other processes."
            )
        self._log(f"Starting to load model {self._model}...")
        if use.shortage is Shortage.WEIGHTS:
            part = replica.linear_bytes(replica.model.hidden * max(replica.model.ffn, 1) * 2) / self._tp
            raise RefusedError(cuda_out_of_memory(part, replica.gpu.memory_gb, 0.3 * part))
        self._log(
            f"Model loading took {use.parts['weights'] / GIB:.2f} GiB memory and {self._simulation.start_s:.6f} seconds"
        )

    def _cache(self, replica: Replica, serving: Serving, use: MemoryUse) -> None:
        """Allocates the KV cache and captures graphs."""
        left = use.budget
        context = serving.context or 1
        self._log(f"Available KV cache memory: {left / GIB:.2f} GiB")
        if use.shortage is Shortage.CACHE:
            raise RefusedError(
                "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
                "initializing the engine (this flag also controls CPU memory reservation on the CPU backend, despite "
                f"its name). {_HINT}"
            )
        if use.shortage is Shortage.CONTEXT:
            raise RefusedError(
                f"ValueError: To serve at least one request with the model's max seq len ({context}), "
                f"({context * replica.kv_bytes_per_token / GIB:.2f} GiB KV cache is needed, which is larger than the "
                f"available KV cache memory ({left / GIB:.2f} GiB). Based on the available memory, the estimated "
                f"maximum model length is {int(left // replica.kv_bytes_per_token)}. Try increasing "
                "`gpu_memory_utilization` (which also controls CPU memory on the CPU backend) or decreasing "
                f"`max_model_len` when initializing the engine. {_HINT}"
            )
        tokens = use.kv_tokens
        self._log(
            f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {context:,} tokens per request: "
            f"{tokens / context:.2f}x"
        )
        if use.shortage is Shortage.SAMPLER:
            raise RefusedError(
                "RuntimeError: CUDA out of memory occurred when warming up sampler with "
                f"{serving.max_sequences} dummy requests. Please try lowering `max_num_seqs` or "
                "`gpu_memory_utilization` when initializing the engine."
            )
        if serving.graph_max:
            self._log(f"Graph capturing finished in 0 secs, took {use.parts['graphs'] / GIB:.2f} GiB")
        self._log(f"init engine (profile, create kv cache, warmup model) took {self._simulation.start_s:.2f} s")
