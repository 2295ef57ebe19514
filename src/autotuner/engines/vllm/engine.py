"""vLLM: an inference server for GPUs (and CPUs), as a program or a container image.

Pure. Source: vLLM 0.32.0 (``vllm/engine/arg_utils.py``, ``vllm/config``).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar

from pydantic import BaseModel

from autotuner.engines.shared.command_line import CommandLine, Item, json_of
from autotuner.engines.shared.gpu_capability import capability
from autotuner.engines.shared.gpu_engine import GpuEngine, GpuEngineSettings, problem, too_old
from autotuner.engines.vllm.causes import explain
from autotuner.engines.vllm.options import ARITHMETIC, CATALOG, KNOWN, LOADING
from autotuner.engines.vllm.server_metrics import SERVER_METRICS
from autotuner.engines.vllm.serving import serving
from autotuner.engines.vllm.starting_points import STARTING_POINTS
from autotuner.errors import Problem
from autotuner.plugins.engine import LoadLimit
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
    "awq": 7.5, "fp8": 7.5, "modelopt": 8.0, "modelopt_fp4": 7.5, "modelopt_mxfp8": 8.0, "mxfp4": 8.0, "torchao": 7.5,
    "experts_int8": 8.0, "fbgemm_fp8": 8.0, "fp_quant": 10.0, "fp8_per_tensor": 7.5, "fp8_per_block": 7.5,
    "fp8_per_channel": 7.5, "int8_per_channel_weight_only": 7.5, "mxfp8": 7.5,
}  # fmt: skip
"""Minimum compute capability by quantization: ``get_min_capability`` in ``vllm/model_executor/layers/quantization``.
Below 8.9, FP8 saves memory but computes in 16 bits."""
_MIN_BACKEND = {"FLASH_ATTN": 8.0, "FLASHINFER": 8.0, "FLASHMLA": 9.0, "CUTLASS_MLA": 10.0, "FLASHINFER_MLA": 10.0}
_MIN_FP8_CACHE = {"TRITON_ATTN": 8.9, "FLASH_ATTN": 9.0}
_MICROBATCHING = ("deepep_low_latency", "deepep_high_throughput", "nixl_ep")
_JSON = ("compilation-config", "attention-config", "kernel-config", "speculative-config", "quantization-config")
_KV_LINE = re.compile(r"KV cache size: ([\d,]+) tokens, Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
_CHUNK_LINE = re.compile(r"Chunked prefill is enabled with max_num_batched_tokens=(\d+)")
_BACKEND_LINE = re.compile(r"Using (?:AttentionBackendEnum\.)?([A-Z][A-Z0-9_]+) (?:attention )?backend")
_VERSION_LINE = re.compile(r"\bversion (\d+\.\d+\S*)|LLM engine \(v([\w.+]+)\)")
_CACHE_INFO = re.compile(r"^vllm:cache_config_info\{(.*)\} ", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CACHE_LABELS = {
    "gpu_memory_utilization": "gpu-memory-utilization", "block_size": "block-size", "num_gpu_blocks": "num-gpu-blocks",
    "enable_prefix_caching": "enable-prefix-caching", "cache_dtype": "kv-cache-dtype",
    "kv_cache_size_tokens": "kv-cache-tokens", "kv_cache_max_concurrency": "max-concurrency",
}  # fmt: skip


class PairLine(CommandLine):
    """A command line in which every switch has an off form, and JSON can be written key by key (``--config.key``)."""

    def flags(self, name: str, value: Value) -> tuple[Flag, ...]:
        """See :meth:`CommandLine.flags`. A switch that is off becomes ``--no-x``; JSON keys keep their underscores."""
        config, dot, key = name.partition(".")
        if dot and value is not None:
            return (Flag(name=f"--{config}.{key.replace('-', '_')}", value=json_of(value)),)
        if value is False and name not in KNOWN:
            return (Flag(name=f"--no-{name}"),)
        return super().flags(name, value)

    def item(self, argv: Sequence[str], index: int) -> Item:
        """See :meth:`CommandLine.item`; ``-O3``, the only short flag written without a space, is read as ``-O 3``."""
        written = argv[index]
        if re.fullmatch(r"-O[^.=].*", written):
            return Item("optimization-level", written[2:], (written,))
        return super().item(argv, index)


class VllmSettings(GpuEngineSettings):
    """Settings of the engine in a study file."""

    server: str = "vllm"
    """Program with its leading arguments, as a shell splits it: ``vllm``, or
    ``python3 -m vllm.entrypoints.openai.api_server``."""


class Vllm(GpuEngine):
    """vLLM's command line, catalog and failure causes."""

    kind: ClassVar[str] = "vllm"
    Settings: ClassVar[type[BaseModel]] = VllmSettings
    catalog: ClassVar[Mapping[str, CatalogEntry]] = CATALOG
    known: ClassVar[Mapping[str, CatalogEntry]] = KNOWN
    info_path: ClassVar[str | None] = "/version"
    metrics_path: ClassVar[str | None] = "/metrics"
    server_metrics: ClassVar[MetricsSource | None] = SERVER_METRICS
    arithmetic_flags: ClassVar[frozenset[str] | None] = ARITHMETIC
    loading_flags: ClassVar[frozenset[str] | None] = LOADING
    starters: ClassVar[tuple[str, ...]] = (
        "max-num-batched-tokens",
        "max-num-seqs",
        "performance-mode",
        "stream-interval",
    )
    starter_degree: ClassVar[str] = "tensor-parallel-size"
    load_limits: ClassVar[Mapping[str, LoadLimit]] = {
        "max-num-seqs": LoadLimit.REQUESTS,
        "max-num-active-seqs": LoadLimit.REQUESTS,
        "max-num-batched-tokens": LoadLimit.PROMPT_TOKENS,
        "max-cudagraph-capture-size": LoadLimit.PROMPT_TOKENS,
        "long-prefill-token-threshold": LoadLimit.REQUEST_TOKENS,
        "max-model-len": LoadLimit.REQUEST_TOKENS,
        "scheduling-policy": LoadLimit.QUEUE,
        "enable-prefix-caching": LoadLimit.PREFIXES,
        "prefix-caching-hash-algo": LoadLimit.PREFIXES,
    }
    starter_constraint: ClassVar[str] = "tensor-parallel-size * pipeline-parallel-size <= gpus"
    image: ClassVar[str] = "vllm/vllm-openai:v0.32.0"
    version: ClassVar[str] = "0.32.0"
    help_flag: ClassVar[str] = "--help=all"
    models: ClassVar[tuple[str, ...]] = ("tokenizer", "spec-model")
    adapters: ClassVar[tuple[str, ...]] = ("lora-modules",)
    files: ClassVar[tuple[str, ...]] = ("chat-template",)
    suffixes: ClassVar[Mapping[str, int]] = {
        "k": 10**3,
        "m": 10**6,
        "g": 10**9,
        "K": 2**10,
        "M": 2**20,
        "G": 2**30,
    }
    human: ClassVar[frozenset[str]] = frozenset({"max-model-len", "max-num-batched-tokens"})
    reserved: ClassVar[Mapping[str, str]] = {
        "model": "write model.path",
        "served-model-name": "write model.name",
        "host": "leave it out: the deployer sets it",
        "port": "leave it out: the deployer sets it",
        "uds": "the load generator speaks HTTP over TCP",
        "config": "write its options in engine.args, where they can be checked",
        **dict.fromkeys(("nnodes", "node-rank", "headless", "data-parallel-address", "data-parallel-rank"), _NODES),
        **dict.fromkeys(
            ("ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "ssl-cert-reqs", "enable-ssl-refresh"), _NO_TLS
        ),
        "grpc": "leave it out: the load generator speaks HTTP",
    }
    secret: ClassVar[Mapping[str, str]] = {
        "api-key": "export VLLM_API_KEY before the run, or leave it out",
        "hf-token": "export HF_TOKEN before the run",
    }

    settings: VllmSettings

    def command_line(self) -> CommandLine:
        """See :class:`PairLine`."""
        return PairLine(self.known)

    @property
    def program(self) -> tuple[str, ...]:
        """``vllm serve``, or a module."""
        words = super().program
        return words if "-m" in words or words[-1:] == ("serve",) else (*words, "serve")

    def command(self, model: Model) -> tuple[tuple[str, ...], tuple[Flag, ...]]:
        """``vllm serve M --served-model-name N``; a module takes the model as a flag."""
        name = Flag(name="--served-model-name", value=self.served_name(model))
        if self.program[-1] == "serve":
            return (*self.program, model.path), (name,)
        return self.program, (Flag(name="--model", value=model.path), name)

    def served_name(self, model: Model) -> str:
        """The model's name if set, else its hub id or the name of its folder."""
        return model.name or (PurePath(model.path).name if model.local else model.path)

    def gpu_count(self, values: Mapping[str, Value]) -> int:
        """tp x pp x prefill context parallel x dp. Decode context parallelism reuses these GPUs."""
        names = (
            "tensor-parallel-size",
            "pipeline-parallel-size",
            "prefill-context-parallel-size",
            "data-parallel-size",
        )
        count = 1
        for name in names:
            count *= self.size(values, name)
        return count

    def starting_points(self, hardware: Hardware) -> Sequence[StartingPoint]:
        """Of servers with GPUs."""
        return () if self.settings.device == "cpu" else STARTING_POINTS

    def serving(self, values: Mapping[str, Value], hardware: Hardware) -> Serving | None:
        """See :func:`autotuner.engines.vllm.serving.serving`; None for a server without a GPU."""
        if self.settings.device == "cpu":
            return None
        named = self.named(values)
        return serving(named, self.defaults, lambda name: self.whole(self.value(named, name)))

    def relations(self, values: Mapping[str, Value], hardware: Hardware) -> Iterator[Problem]:
        """What vLLM's configuration classes refuse (``config/scheduler.py``, ``config/parallel.py``)."""
        yield from self._batches(values)
        yield from self._parallel(values)
        yield from self._no_effect(values)
        yield from self._gpu(values, capability(hardware.gpu_name))

    def _batches(self, values: Mapping[str, Value]) -> Iterator[Problem]:
        tokens, longest = (self.whole(values.get(n)) for n in ("max-num-batched-tokens", "max-model-len"))
        requests, active = (self.whole(values.get(n)) for n in ("max-num-seqs", "max-num-active-seqs"))
        threshold = self.whole(values.get("long-prefill-token-threshold"))
        if values.get("enable-chunked-prefill") is False and tokens and longest and 0 < tokens < longest:
            yield problem(
                "max-num-batched-tokens",
                tokens,
                f"is smaller than max-model-len ({longest}), without chunked prefill",
                f"set it to at least {longest}",
            )
        if tokens and requests and tokens < requests:
            yield problem(
                "max-num-batched-tokens",
                tokens,
                f"is smaller than max-num-seqs ({requests})",
                f"set it to at least {requests}",
            )
        if active and requests and active > requests:
            yield problem(
                "max-num-active-seqs", active, f"exceeds max-num-seqs ({requests})", f"set it to at most {requests}"
            )
        if threshold and longest and 0 < longest < threshold:
            yield problem(
                "long-prefill-token-threshold",
                threshold,
                f"exceeds max-model-len ({longest})",
                f"set it to at most {longest}",
            )

    def _parallel(self, values: Mapping[str, Value]) -> Iterator[Problem]:
        tp = self.size(values, "tensor-parallel-size")
        dp = self.size(values, "data-parallel-size")
        pcp = self.size(values, "prefill-context-parallel-size")
        dcp = self.size(values, "decode-context-parallel-size")
        if pcp == 1 and tp % dcp:
            yield problem(
                "decode-context-parallel-size", dcp, f"does not divide tensor-parallel-size ({tp})", "choose a divisor"
            )
        if pcp > 1 and dcp not in {1, pcp, tp * pcp}:
            yield problem(
                "decode-context-parallel-size",
                dcp,
                f"is inconsistent with prefill-context-parallel-size ({pcp})",
                f"set it to 1, {pcp} or {tp * pcp}",
            )
        if values.get("enable-eplb") and not values.get("enable-expert-parallel"):
            yield problem("enable-eplb", True, "needs enable-expert-parallel", "set enable-expert-parallel")
        elif values.get("enable-eplb") and tp * pcp * dp == 1:
            yield problem("enable-eplb", True, "needs more than one GPU", "set it to false")
        if values.get("enable-dbo") and str(self.value(values, "all2all-backend")) not in _MICROBATCHING:
            yield problem(
                "enable-dbo", True, f"needs all2all-backend {' or '.join(_MICROBATCHING)}", "set all2all-backend"
            )

    def _no_effect(self, values: Mapping[str, Value]) -> Iterator[Problem]:
        if values.get("enforce-eager") and values.get("max-cudagraph-capture-size") is not None:
            yield problem(
                "max-cudagraph-capture-size",
                values["max-cudagraph-capture-size"],
                "has no effect: enforce-eager disables graphs",
                "remove one of them",
            )
        if values.get("enable-prefix-caching") is False and values.get("prefix-caching-hash-algo") is not None:
            yield problem(
                "prefix-caching-hash-algo",
                values["prefix-caching-hash-algo"],
                "has no effect without prefix caching",
                "remove it",
            )
        if values.get("speculative-config") is not None and values.get("spec-method") is not None:
            yield problem(
                "spec-method",
                values["spec-method"],
                "is set twice: speculative-config also sets a method",
                "keep one of them",
            )
        for name in _JSON:
            text = values.get(name)
            if isinstance(text, str) and not _is_object(text):
                yield problem(name, text, "is not a JSON object", 'write it as {"key": "value"}')

    def _gpu(self, values: Mapping[str, Value], has: float | None) -> Iterator[Problem]:
        if has is None:
            return
        needs = _MIN_QUANTIZATION.get(str(values.get("quantization")), 0.0)
        if has < needs:
            yield too_old("quantization", values["quantization"], has, needs)
        if values.get("dtype") == "bfloat16" and has < 8.0:
            yield too_old("dtype", "bfloat16", has, 8.0)
        backend = str(values.get("attention-backend")).upper()
        cache = str(values.get("kv-cache-dtype"))
        if has < _MIN_BACKEND.get(backend, 0.0):
            yield too_old("attention-backend", backend, has, _MIN_BACKEND[backend])
        elif cache.startswith("fp8") and has < _MIN_FP8_CACHE.get(backend, 0.0):
            yield too_old("kv-cache-dtype", cache, has, _MIN_FP8_CACHE[backend])
        elif cache.startswith("fp8") and has < 8.0:
            yield too_old("kv-cache-dtype", cache, has, 8.0)

    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """See :func:`autotuner.engines.vllm.causes.explain`."""
        return explain(exit_code, log_tail, ready=ready)

    def decided(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """KV cache and batch sizes from the log, cache settings from ``/metrics``, the version from ``/version``."""
        found: dict[str, Any] = {"version": server_info.get("version")}
        if info := _CACHE_INFO.search(metrics):
            labels = dict(_LABEL.findall(info[1]))
            found |= {name: _read(labels[label]) for label, name in _CACHE_LABELS.items() if label in labels}
        if cache := _KV_LINE.search(log):
            found["kv-cache-tokens"] = int(cache[1].replace(",", ""))
            found["max-model-len"] = int(cache[2].replace(",", ""))
            found["max-concurrency"] = float(cache[3])
        if chunk := _CHUNK_LINE.search(log):
            found["max-num-batched-tokens"] = int(chunk[1])
        if backend := _BACKEND_LINE.search(log):
            found["attention-backend"] = backend[1]
        if found["version"] is None and (version := _VERSION_LINE.search(log)):
            found["version"] = version[1] or version[2]
        return found


def _read(label: str) -> Value:
    """The value that a metric label stands for."""
    if label in {"True", "False"}:
        return label == "True"
    if label == "None":
        return None
    try:
        return int(label) if re.fullmatch(r"-?\d+", label) else float(label)
    except ValueError:
        return label


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
