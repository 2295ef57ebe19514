"""SGLang: an inference server for GPUs, as a Python module or a container image.

Pure. Source: SGLang 0.5.23 (``sglang/srt/server_args.py``, ``sglang/srt/arg_groups``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar

from pydantic import BaseModel

from autotuner.engines.sglang.causes import LINES, MEMORY_REMEDIES
from autotuner.engines.sglang.options import ARITHMETIC, CATALOG, KNOWN, LOADING
from autotuner.engines.sglang.server_metrics import SERVER_METRICS
from autotuner.engines.sglang.serving import serving
from autotuner.engines.sglang.starting_points import STARTING_POINTS
from autotuner.engines.shared.gpu_capability import capability
from autotuner.engines.shared.gpu_causes import explain
from autotuner.engines.shared.gpu_engine import GpuEngine, GpuEngineSettings, problem, too_old
from autotuner.errors import Problem
from autotuner.plugins.engine import ControlRequest, LoadLimit
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.study.base import Value
from autotuner.study.failure import Failure
from autotuner.study.launch import Flag, Hardware
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.search.serving import Serving
from autotuner.study.search.starting_point import StartingPoint
from autotuner.study.spec import Model

_NODES = "leave it out: a server runs on one machine"
_NO_TLS = "leave it out: the load generator speaks plain HTTP"
_MIN_QUANTIZATION = {
    "awq": 8.0, "fp8": 8.0, "gptq_marlin": 8.0, "mxfp4": 8.0, "modelopt_fp4": 8.0, "w8a8_int8": 7.5, "w8a8_fp8": 8.9,
    "modelopt_fp8": 8.9, "w4afp8": 9.0, "petit_nvfp4": 9.0, "nvfp4_online": 10.0, "mxfp8": 10.0,
}  # fmt: skip
"""Minimum compute capability by quantization: ``get_min_capability`` in ``sglang/srt/layers/quantization``."""
_MIN_FP8_GEMM = {"deep_gemm": 9.0, "flashinfer_deepgemm": 9.0, "flashinfer_cutlass": 10.0, "flashinfer_trtllm": 10.0}
"""Minimum compute capability by fp8-gemm-backend: ``fp8_utils.py`` in the same folder."""
_DECIDED = (
    "max_total_num_tokens", "mem_fraction_static", "chunked_prefill_size", "max_prefill_tokens", "max_running_requests",
    "attention_backend", "prefill_attention_backend", "decode_attention_backend", "sampling_backend", "kv_cache_dtype",
    "page_size", "dtype", "quantization", "schedule_policy", "moe_runner_backend", "tp_size", "dp_size", "attn_dp_size",
    "ep_size", "pp_size", "version",
)  # fmt: skip
_POOL_LINE = re.compile(
    r"max_total_num_tokens=(\d+), chunked_prefill_size=(-?\d+), max_prefill_tokens=(\d+), "
    r"max_running_requests=(\d+), context_len=(\d+)"
)


class SglangSettings(GpuEngineSettings):
    """Settings of the engine in a study file."""

    server: str = "python3 -m sglang.launch_server"
    """Program with its leading arguments, as a shell splits it."""


class Sglang(GpuEngine):
    """SGLang's command line, catalog and failure causes."""

    kind: ClassVar[str] = "sglang"
    Settings: ClassVar[type[BaseModel]] = SglangSettings
    catalog: ClassVar[Mapping[str, CatalogEntry]] = CATALOG
    known: ClassVar[Mapping[str, CatalogEntry]] = KNOWN
    info_path: ClassVar[str | None] = "/get_server_info"
    metrics_path: ClassVar[str | None] = "/metrics"
    server_metrics: ClassVar[MetricsSource | None] = SERVER_METRICS
    arithmetic_flags: ClassVar[frozenset[str] | None] = ARITHMETIC
    loading_flags: ClassVar[frozenset[str] | None] = LOADING
    runtime_flags: ClassVar[frozenset[str]] = frozenset(
        {
            "pp-max-micro-batch-size",
            "speculative-accept-threshold-single",
            "speculative-accept-threshold-acc",
        }
    )
    """Source: ``set_internal_state`` in ``sglang/srt/managers``."""
    starters: ClassVar[tuple[str, ...]] = (
        "chunked-prefill-size",
        "max-running-requests",
        "num-continuous-decode-steps",
        "stream-interval",
    )
    starter_degree: ClassVar[str] = "tp-size"
    load_limits: ClassVar[Mapping[str, LoadLimit]] = {
        "max-running-requests": LoadLimit.REQUESTS,
        "max-queued-requests": LoadLimit.REQUESTS,
        "cuda-graph-max-bs-decode": LoadLimit.REQUESTS,
        "torch-compile-max-bs": LoadLimit.REQUESTS,
        "prefill-max-requests": LoadLimit.REQUESTS,
        "chunked-prefill-size": LoadLimit.PROMPT_TOKENS,
        "max-prefill-tokens": LoadLimit.PROMPT_TOKENS,
        "cuda-graph-max-bs-prefill": LoadLimit.PROMPT_TOKENS,
        "context-length": LoadLimit.REQUEST_TOKENS,
        "schedule-policy": LoadLimit.QUEUE,
        "disable-radix-cache": LoadLimit.PREFIXES,
        "radix-eviction-policy": LoadLimit.PREFIXES,
    }
    starter_constraint: ClassVar[str] = "tp-size * pp-size <= gpus"
    image: ClassVar[str] = "lmsysorg/sglang:v0.5.23"
    version: ClassVar[str] = "0.5.23"
    always: ClassVar[Mapping[str, Value]] = {"enable-metrics": True}
    models: ClassVar[tuple[str, ...]] = ("speculative-draft-model-path", "tokenizer-path")
    adapters: ClassVar[tuple[str, ...]] = ("lora-paths",)
    files: ClassVar[tuple[str, ...]] = ("chat-template",)
    suffixes: ClassVar[Mapping[str, int]] = {
        "k": 10**3,
        "M": 10**6,
        "G": 10**9,
        "Ki": 2**10,
        "Mi": 2**20,
        "Gi": 2**30,
    }
    human: ClassVar[frozenset[str]] = frozenset({"max-total-tokens", "max-prefill-tokens", "context-length"})
    reserved: ClassVar[Mapping[str, str]] = {
        "model-path": "write model.path",
        "served-model-name": "write model.name",
        "host": "leave it out: the deployer sets it",
        "port": "leave it out: the deployer sets it",
        "config": "write its options in engine.args, where they can be checked",
        "nnodes": _NODES,
        "node-rank": _NODES,
        "dist-init-addr": _NODES,
        **dict.fromkeys(("ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "enable-ssl-refresh"), _NO_TLS),
        "grpc-mode": "leave it out: the load generator speaks HTTP",
        "smg-grpc-mode": "leave it out: the load generator speaks HTTP",
    }
    secret: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("api-key", "admin-api-key", "ssl-keyfile-password"), "leave it out: only this study uses the server"
    )

    settings: SglangSettings

    def command(self, model: Model) -> tuple[tuple[str, ...], tuple[Flag, ...]]:
        """``python3 -m sglang.launch_server --model-path M --served-model-name N``."""
        flags = (
            Flag(name="--model-path", value=model.path),
            Flag(name="--served-model-name", value=self.served_name(model)),
        )
        return self.program, flags

    def served_name(self, model: Model) -> str:
        """The model's name if set, else its hub id or the name of its folder."""
        return model.name or (PurePath(model.path).name if model.local else model.path)

    def gpu_count(self, values: Mapping[str, Value]) -> int:
        """tp x pp x replicas. Attention groups and context parallelism divide up tp and need no further GPUs."""
        if str(values.get("device") or "cuda") == "cpu":
            return 0
        replicas = 1 if self.attention_groups(values) > 1 else self.size(values, "dp-size")
        return self.size(values, "tp-size") * self.size(values, "pp-size") * replicas

    def attention_groups(self, values: Mapping[str, Value]) -> int:
        """Data-parallel attention groups, from ``attn-dp-size`` or from the older ``enable-dp-attention``."""
        own = self.size(values, "attn-dp-size")
        return own if own > 1 or not values.get("enable-dp-attention") else self.size(values, "dp-size")

    def starting_points(self, hardware: Hardware) -> Sequence[StartingPoint]:
        """Of servers with GPUs."""
        return () if self.settings.device == "cpu" else STARTING_POINTS

    def serving(self, values: Mapping[str, Value], hardware: Hardware) -> Serving | None:
        """See :func:`autotuner.engines.sglang.serving.serving`; None for a server without a GPU."""
        if self.settings.device == "cpu":
            return None
        named = self.named(values)
        return serving(named, self.defaults, lambda n: self.whole(self.value(named, n)), self.attention_groups(named))

    def relations(self, values: Mapping[str, Value], hardware: Hardware) -> Iterator[Problem]:
        """What SGLang asserts about its arguments (``validation_hook.py``, ``parallel_hook.py``)."""
        yield from self._parallel(values)
        yield from self._prefill(values)
        yield from self._graphs(values)
        yield from self._caches(values)
        yield from self._gpu(values, capability(hardware.gpu_name))

    def _parallel(self, values: Mapping[str, Value]) -> Iterator[Problem]:
        tp = self.size(values, "tp-size")
        groups = self.attention_groups(values)
        replicas = self.size(values, "dp-size")
        context = self.size(values, "attn-cp-size")
        experts = self.size(values, "ep-size")
        moe_groups = self.size(values, "moe-dp-size")
        if groups > 1 and tp % groups:
            yield problem("tp-size", tp, f"is not divisible by the {groups} attention groups", "change one of them")
        if self.size(values, "attn-dp-size") > 1 and replicas > 1:
            yield problem("dp-size", replicas, "cannot be combined with attn-dp-size", "set it to 1")
        if context > 1 and tp % (groups * context):
            yield problem(
                "attn-cp-size",
                context,
                f"times the attention groups does not divide tp-size ({tp})",
                "choose a divisor",
            )
        if experts > tp:
            yield problem("ep-size", experts, f"exceeds tp-size ({tp})", f"set it to at most {tp}")
        if moe_groups > 1 and (tp % moe_groups or (experts > 1 and experts * moe_groups != tp)):
            yield problem(
                "moe-dp-size",
                moe_groups,
                f"is inconsistent with tp-size ({tp}) and ep-size ({experts})",
                "keep moe-dp-size x ep-size equal to tp-size",
            )
        dense = values.get("moe-dense-tp-size")
        if dense is not None and str(dense) not in {"1", str(tp)}:
            yield problem("moe-dense-tp-size", dense, f"must be 1 or tp-size ({tp})", "set it to 1")
        alone = self.value(values, "moe-a2a-backend") == "none" and groups == 1
        if values.get("enable-two-batch-overlap") and alone:
            yield problem(
                "enable-two-batch-overlap",
                True,
                "needs moe-a2a-backend or attention groups",
                "set moe-a2a-backend or attn-dp-size",
            )

    def _prefill(self, values: Mapping[str, Value]) -> Iterator[Problem]:
        chunk = self.whole(values.get("chunked-prefill-size"))
        page = self.whole(values.get("page-size"))
        off = chunk is not None and chunk <= 0
        if chunk and chunk > 0 and page and chunk % page:
            yield problem(
                "chunked-prefill-size", chunk, f"is not divisible by page-size ({page})", "choose a multiple of it"
            )
        if values.get("enable-mixed-chunk") and off:
            yield problem(
                "enable-mixed-chunk", True, "has no effect without chunked prefill", "set chunked-prefill-size above 0"
            )
        if values.get("enable-priority-scheduling") and self.value(values, "schedule-policy") not in {"fcfs", "lof"}:
            yield problem("schedule-policy", values["schedule-policy"], "does not support priorities", "set it to fcfs")
        if values.get("retraction-policy") == "priority" and not values.get("enable-priority-scheduling"):
            yield problem("retraction-policy", "priority", "needs enable-priority-scheduling", "set it to length")

    def _graphs(self, values: Mapping[str, Value]) -> Iterator[Problem]:
        for phase in ("decode", "prefill"):
            name = f"cuda-graph-max-bs-{phase}"
            switches = ("disable-cuda-graph", f"disable-{phase}-cuda-graph")
            off = next((s for s in switches if values.get(s)), None)
            off = off or (
                "cuda-graph-backend-" + phase if values.get(f"cuda-graph-backend-{phase}") == "disabled" else None
            )
            if values.get(name) is not None and off:
                yield problem(name, values[name], f"has no effect: {off} disables graphs", "remove one of them")
        if values.get("disable-cuda-graph-padding") and values.get("enable-torch-compile"):
            yield problem(
                "disable-cuda-graph-padding",
                True,
                "cannot be combined with enable-torch-compile",
                "remove one of them",
            )
        if values.get("torch-compile-max-bs") is not None and not values.get("enable-torch-compile"):
            yield problem(
                "torch-compile-max-bs",
                values["torch-compile-max-bs"],
                "has no effect without enable-torch-compile",
                "set enable-torch-compile",
            )

    def _caches(self, values: Mapping[str, Value]) -> Iterator[Problem]:
        if values.get("enable-hierarchical-cache") and values.get("disable-radix-cache"):
            yield problem(
                "enable-hierarchical-cache", True, "extends the radix cache, which is off", "remove disable-radix-cache"
            )
        if self.value(values, "speculative-algorithm") is None:
            for name in ("speculative-num-steps", "speculative-eagle-topk", "speculative-num-draft-tokens"):
                if values.get(name) is not None:
                    yield problem(
                        name, values[name], "has no effect without speculative-algorithm", "set speculative-algorithm"
                    )

    def _gpu(self, values: Mapping[str, Value], has: float | None) -> Iterator[Problem]:
        if has is None:
            return
        needs = _MIN_QUANTIZATION.get(str(values.get("quantization")), 0.0)
        if has < needs:
            yield too_old("quantization", values["quantization"], has, needs)
        needs = _MIN_FP8_GEMM.get(str(values.get("fp8-gemm-backend")), 0.0)
        if has < needs:
            yield too_old("fp8-gemm-backend", values["fp8-gemm-backend"], has, needs)
        if values.get("kv-cache-dtype") == "fp8_e4m3" and values.get("attention-backend") == "triton" and has < 8.9:
            yield too_old("kv-cache-dtype", "fp8_e4m3", has, 8.9)
        if self.value(values, "dtype") == "bfloat16" and has < 8.0:
            yield too_old("dtype", "bfloat16", has, 8.0)
        for name in ("attention-backend", "prefill-attention-backend", "decode-attention-backend"):
            backend = str(values.get(name))
            if backend == "fa3" and not 8.0 <= has < 10.0:
                why = f"runs on GPUs with compute capability 8.0 to 9.0; this one has {has:g}"
                yield problem(name, backend, why, "set it to flashinfer or triton")
            needs = {"trtllm_mha": 9.0, "trtllm_mla": 10.0, "cutedsl_mla": 10.0}.get(backend, 0.0)
            if has < needs:
                yield too_old(name, backend, has, needs)

    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """See :func:`autotuner.engines.shared.gpu_causes.explain`."""
        return explain(LINES, MEMORY_REMEDIES, exit_code, log_tail, ready=ready)

    def change(self, flags: Mapping[str, Value]) -> Sequence[ControlRequest]:
        """Sets the scheduler's arguments in all replicas, and drops cached prefixes."""
        arguments = {name.replace("-", "_"): value for name, value in flags.items()}
        return (
            ControlRequest("/flush_cache"),
            ControlRequest("/set_internal_state", {"server_args": arguments}),
        )

    def running_values(self, server_info: Mapping[str, Any]) -> Sequence[Mapping[str, object]]:
        """The arguments in the states of the replicas' schedulers."""
        states = server_info.get("internal_states")
        found = states if isinstance(states, list) else []
        return [
            {name: state.get(name.replace("-", "_")) for name in self.runtime_flags}
            for state in found
            if isinstance(state, Mapping)
        ]

    def decided(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """The resolved arguments and the memory pool, from ``/get_server_info`` or else from the log."""
        nested = server_info.get("server_args")
        arguments = {**(nested if isinstance(nested, Mapping) else {}), **server_info}
        found: dict[str, Any] = {name.replace("_", "-"): arguments.get(name) for name in _DECIDED}
        states = server_info.get("internal_states")
        state = states[0] if isinstance(states, list) and states and isinstance(states[0], Mapping) else {}
        found["max-running-requests"] = (
            state.get("effective_max_running_requests_per_dp") or found["max-running-requests"]
        )
        if (pool := _POOL_LINE.search(log)) and not server_info:
            names = ("max-total-num-tokens", "chunked-prefill-size", "max-prefill-tokens", "max-running-requests")
            found |= {name: int(value) for name, value in zip((*names, "context-length"), pool.groups(), strict=True)}
        return found
