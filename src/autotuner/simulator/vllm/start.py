"""Startup of vLLM: from flags to a configuration, with its log lines and failures.

Defaults and formulas follow ``engine/arg_utils.py``, ``v1/worker/gpu_worker.py`` and ``v1/core/kv_cache_utils.py`` of
vLLM 0.32.0.
"""

from collections.abc import Mapping
from typing import Any

from autotuner.predict.gpus import GpuModel
from autotuner.predict.roofline import GIB, Replica
from autotuner.simulator.config import EngineConfig, EngineExitError, Log, cuda_out_of_memory
from autotuner.simulator.options import Simulation
from autotuner.simulator.starting import RefusedError, gpu_of, make_replica, model_shape, without_secrets

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
_CAPTURE_MB = 6.0
"""Memory per captured batch size. Assumed value."""
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
        seqs, batched = self._batching(gpu)
        chunked = bool(given.get("enable_chunked_prefill", True))
        self._check(shape.heads, seqs, batched, context, chunked=chunked)
        kv_dtype = str(given.get("kv_cache_dtype", "auto"))
        quantization = given.get("quantization")
        replica = make_replica(shape, gpu, self._tp, self._pp, quantization, kv_dtype)
        graphs = self._graphs(gpu, seqs, batched)
        block = int(given.get("block_size") or 16)
        tokens = self._memory(replica, seqs, batched, graphs, context, block)
        threshold = int(given.get("long_prefill_token_threshold") or 0)
        names = given.get("served_model_name")
        keys = given.get("api_key")
        resolved = {
            "gpu_memory_utilization": given.get("gpu_memory_utilization", 0.92),
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

    def _batching(self, gpu: GpuModel) -> tuple[int, int]:
        large = gpu.memory_gb >= 70 and "a100" not in gpu.device.lower()
        seqs, batched = (1024, 16384) if gpu.memory_gb >= 160 else (1024, 8192) if large else (256, 2048)
        batched = int(self._given.get("max_num_batched_tokens") or batched)
        asked = self._given.get("max_num_seqs")
        return int(asked) if asked else min(seqs, batched), batched

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

    def _graphs(self, gpu: GpuModel, seqs: int, batched: int) -> int:
        given = self._given
        if given.get("enforce_eager"):
            return 0
        sizes = [int(size) for size in given.get("cudagraph_capture_sizes") or ()]
        default = min(seqs * 2, 1024 if gpu.capability // 10 == 10 else 512)
        return min(batched, max(sizes) if sizes else int(given.get("max_cudagraph_capture_size") or default))

    def _memory(self, replica: Replica, seqs: int, batched: int, graphs: int, context: int, block: int) -> int:
        """Size of the KV cache in tokens."""
        total = replica.gpu.memory_gb * GIB
        asked = float(self._given.get("gpu_memory_utilization", 0.92))
        free = total - replica.fixed_bytes
        wanted = asked * total
        if free < wanted:
            raise RefusedError(
                f"ValueError: Free memory on device cuda:0 ({free / GIB:.2f}/{total / GIB:.2f} GiB) on startup is less "
                f"than desired GPU memory utilization ({asked}, {wanted / GIB:.2f} GiB). Decrease GPU memory "
                "utilization or reduce GPU memory used by other processes."
            )
        self._log(f"Starting to load model {self._model}...")
        if replica.weight_bytes > free:
            part = replica.linear_bytes(replica.model.hidden * max(replica.model.ffn, 1) * 2) / self._tp
            raise RefusedError(cuda_out_of_memory(part, replica.gpu.memory_gb, 0.3 * part))
        self._log(
            f"Model loading took {replica.weight_bytes / GIB:.2f} GiB memory and {self._simulation.start_s:.6f} seconds"
        )
        captured = _CAPTURE_MB * (1 << 20) * (3 + graphs // 8 if graphs < 256 else 35 + (graphs - 256) // 16)
        captured = captured if graphs else 0.0
        peak = replica.activation_bytes(batched, min(seqs, batched))
        left = wanted - replica.weight_bytes - replica.fixed_bytes - peak - captured
        given = self._given.get("kv_cache_memory_bytes")
        left = float(given) if given else left
        self._log(f"Available KV cache memory: {left / GIB:.2f} GiB")
        self._check_cache(replica, left, context)
        tokens = int(left // (replica.kv_bytes_per_token * block)) * block
        self._log(
            f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {context:,} tokens per request: "
            f"{tokens / context:.2f}x"
        )
        self._warm_up(replica, seqs, total - wanted)
        if graphs:
            self._log(f"Graph capturing finished in 0 secs, took {captured / GIB:.2f} GiB")
        self._log(f"init engine (profile, create kv cache, warmup model) took {self._simulation.start_s:.2f} s")
        return tokens

    def _check_cache(self, replica: Replica, left: float, context: int) -> None:
        if left <= 0:
            raise RefusedError(
                "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
                "initializing the engine (this flag also controls CPU memory reservation on the CPU backend, despite "
                f"its name). {_HINT}"
            )
        need = context * replica.kv_bytes_per_token
        if need > left:
            raise RefusedError(
                f"ValueError: To serve at least one request with the model's max seq len ({context}), "
                f"({need / GIB:.2f} GiB KV cache is needed, which is larger than the available KV cache memory "
                f"({left / GIB:.2f} GiB). Based on the available memory, the estimated maximum model length is "
                f"{int(left // replica.kv_bytes_per_token)}. Try increasing `gpu_memory_utilization` (which also "
                "controls CPU memory on the CPU backend) or decreasing `max_model_len` when initializing the engine. "
                + _HINT
            )

    def _warm_up(self, replica: Replica, seqs: int, spare: float) -> None:
        """The logits of all sequences need memory in addition to what was profiled."""
        if 8.0 * seqs * replica.model.vocab > spare:
            raise RefusedError(
                f"RuntimeError: CUDA out of memory occurred when warming up sampler with {seqs} dummy requests. Please "
                "try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine."
            )
