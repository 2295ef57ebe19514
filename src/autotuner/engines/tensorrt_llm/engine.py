"""TensorRT-LLM's ``trtllm-serve``: an inference server for NVIDIA GPUs, as a program or a container image.

Pure. Source: repository NVIDIA/TensorRT-LLM (``tensorrt_llm/commands/serve.py``, ``llmapi/llm_args.py``).

Most options are not flags. A study names them by their path in the options file (``kv_cache_config.dtype``); they reach
the server as ``--set PATH=VALUE`` if it has that flag, and are refused otherwise, never dropped.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar

from pydantic import BaseModel

from autotuner.engines.shared.command_line import CommandLine, Item, json_of
from autotuner.engines.shared.gpu_capability import capability
from autotuner.engines.shared.gpu_causes import explain
from autotuner.engines.shared.gpu_engine import GpuEngine, GpuEngineSettings, problem, too_old
from autotuner.engines.tensorrt_llm.causes import LINES, MEMORY_REMEDIES
from autotuner.engines.tensorrt_llm.options import CATALOG, KNOWN, LOADING, YAML_ONLY
from autotuner.engines.tensorrt_llm.server_metrics import SERVER_METRICS
from autotuner.errors import Problem
from autotuner.plugins.engine import LoadLimit
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.study.base import Value
from autotuner.study.failure import Failure
from autotuner.study.launch import Flag, Hardware
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.spec import Model

FILE = "extra-llm-api-options"
_CACHE_LINE = re.compile(r"Allocated ([\d.]+) GiB for max tokens in paged KV cache \((\d+)\)")
_SIZES_LINE = re.compile(r"max_seq_len=(\d+), max_num_requests=(\d+), max_num_tokens=(\d+)")
_MIN_CACHE = {"fp8": 8.9, "fp8_ds_mla": 9.0, "nvfp4": 10.0}
"""Minimum compute capability by data type of the KV cache: TensorRT-LLM's support matrix."""


def by_path(name: str) -> bool:
    """Whether an option is a path in the options file, not a flag."""
    return name in YAML_ONLY or "." in name


class SetLine(CommandLine):
    """A command line with ``--set PATH=VALUE``, in which each path counts as an option."""

    def flags(self, name: str, value: Value) -> tuple[Flag, ...]:
        """``--set`` for a path, else the flag itself."""
        if not by_path(name):
            return super().flags(name, value)
        if value is None:
            return ()
        return (Flag(name="--set", value=f"{name.replace('-', '_')}={json_of(value)}"),)

    def item(self, argv: Sequence[str], index: int) -> Item:
        """See :meth:`CommandLine.item`; ``--set`` is read as the path that it sets."""
        found = super().item(argv, index)
        if found.name != "set" or not isinstance(found.value, str):
            return found
        path, _, text = found.value.partition("=")
        return Item(path.replace("_", "-"), text, found.raw)


class TensorrtLlmSettings(GpuEngineSettings):
    """Settings of the engine in a study file."""

    server: str = "trtllm-serve"
    """Program with its leading arguments, as a shell splits it."""
    set_flag: bool = False
    """Set for a program newer than release 1.2, with the flags ``--set`` and ``--served_model_name`` in
    ``trtllm-serve serve --help``. Options that are not flags can then be set and tuned."""


class TensorrtLlm(GpuEngine):
    """trtllm-serve's command line, catalog and failure causes."""

    kind: ClassVar[str] = "tensorrt_llm"
    Settings: ClassVar[type[BaseModel]] = TensorrtLlmSettings
    catalog: ClassVar[Mapping[str, CatalogEntry]] = CATALOG
    known: ClassVar[Mapping[str, CatalogEntry]] = KNOWN
    info_path: ClassVar[str | None] = "/version"
    metrics_path: ClassVar[str | None] = "/prometheus/metrics"
    server_metrics: ClassVar[MetricsSource | None] = SERVER_METRICS
    arithmetic_flags: ClassVar[frozenset[str] | None] = frozenset(
        {"attn-backend", "backend", "kv-cache-config.dtype", "max-beam-width", "moe-config.backend"}
    )
    loading_flags: ClassVar[frozenset[str] | None] = LOADING
    starters: ClassVar[tuple[str, ...]] = ("max-batch-size", "max-num-tokens")
    starter_degree: ClassVar[str] = "tp-size"
    load_limits: ClassVar[Mapping[str, LoadLimit]] = {
        "max-batch-size": LoadLimit.REQUESTS,
        "max-num-tokens": LoadLimit.PROMPT_TOKENS,
        "max-seq-len": LoadLimit.REQUEST_TOKENS,
    }
    starter_constraint: ClassVar[str] = "tp-size * pp-size <= gpus"
    image: ClassVar[str] = "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"
    version: ClassVar[str] = "1.2.1"
    models: ClassVar[tuple[str, ...]] = ("tokenizer",)
    files: ClassVar[tuple[str, ...]] = (FILE, "chat-template")
    reserved: ClassVar[Mapping[str, str]] = {
        "host": "leave it out: the deployer sets it",
        "port": "leave it out: the deployer sets it",
        "served-model-name": "write model.name",
        "set": "write the path itself, as in kv_cache_config.dtype: fp8",
        "grpc": "leave it out: the load generator speaks HTTP",
        "server-role": "leave it out: a server runs on one machine",
        "disagg-cluster-uri": "leave it out: a server runs on one machine",
        "metadata-server-config-file": "leave it out: a server runs on one machine",
    }

    settings: TensorrtLlmSettings

    def command_line(self) -> CommandLine:
        """See :class:`SetLine`; flags are spelled with underscores."""
        return SetLine(self.known, underscores=True, abbreviates=False)

    @property
    def program(self) -> tuple[str, ...]:
        """``trtllm-serve serve``."""
        words = super().program
        return words if words[-1:] == ("serve",) else (*words, "serve")

    def command(self, model: Model) -> tuple[tuple[str, ...], tuple[Flag, ...]]:
        """``trtllm-serve serve M``, with the model's name if there is a flag for it."""
        named = self.settings.set_flag and model.name
        name = (Flag(name="--served_model_name", value=self.served_name(model)),) if named else ()
        return (*self.program, model.path), name

    def served_name(self, model: Model) -> str:
        """The model's name if set (release 1.2 accepts any name), else its hub id or the name of its folder."""
        return model.name or (PurePath(model.path).name if model.local else model.path)

    def gpu_count(self, values: Mapping[str, Value]) -> int:
        """tp x pp x cp. Experts are distributed across these GPUs."""
        return self.size(values, "tp-size") * self.size(values, "pp-size") * self.size(values, "cp-size")

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """See :meth:`GpuEngine.check_value`; an option that would not reach the server is refused as well."""
        found = super().check_value(name, value)
        name = self.canonical(name)
        if found or not by_path(name) or self.settings.set_flag:
            return found
        why = "is not a flag of trtllm-serve 1.2, which reads it from a file only"
        remedy = f"write it in a YAML file named by {FILE}, or set set_flag: true if the program has --set"
        return [problem(name, value, why, remedy)]

    def _type_problem(self, entry: CatalogEntry, value: Value) -> Problem | None:
        return super()._type_problem(entry, yaml_bool(value) if entry.name in YAML_ONLY else value)

    def notes(self, values: Mapping[str, Value]) -> list[Problem]:
        """See :meth:`GpuEngine.notes`; also warns that an options file takes precedence over flags."""
        file = self.named(values).get(FILE)
        why = "its options override flags in release 1.2, and cannot be checked or read back"
        warning = [problem(FILE, file, why, "leave tuned options out of the file")] if file else []
        return [*warning, *(note for note in super().notes(values) if not by_path(note.where))]

    def relations(self, values: Mapping[str, Value], hardware: Hardware) -> Iterator[Problem]:
        """What TensorRT-LLM refuses, what has no effect, and what this GPU cannot run."""
        tp = self.size(values, "tp-size")
        experts = self.whole(values.get("ep-size"))
        if experts and tp % experts:
            yield problem("ep-size", experts, f"does not divide tp-size ({tp})", "choose a divisor")
        tokens = self.whole(values.get("max-num-tokens"))
        batch = self.whole(values.get("max-batch-size"))
        if tokens and batch and tokens < batch:
            yield problem(
                "max-num-tokens",
                tokens,
                f"is smaller than max-batch-size ({batch}), which then has no effect",
                f"set it to at least {batch}",
            )
        longest = self.whole(values.get("max-seq-len"))
        if self.value(values, "backend") == "tensorrt" and any(by_path(n) for n in values):
            yield problem("backend", values["backend"], "supports only flags, no options by path", "set it to pytorch")
        if tokens and longest and tokens < longest and not values.get("enable-chunked-prefill"):
            why = f"is smaller than max-seq-len ({longest}): without chunked prefill, long prompts are refused"
            yield problem("max-num-tokens", tokens, why, "set enable-chunked-prefill")
        has = capability(hardware.gpu_name)
        cache = str(values.get("kv-cache-config.dtype"))
        if has is not None and has < _MIN_CACHE.get(cache, 0.0):
            yield too_old("kv-cache-config.dtype", cache, has, _MIN_CACHE[cache])

    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """See :func:`autotuner.engines.shared.gpu_causes.explain`."""
        return explain(LINES, MEMORY_REMEDIES, exit_code, log_tail, ready=ready)

    def decided(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """The version from ``/version``; KV cache and batch sizes from the log."""
        found: dict[str, Any] = {"version": server_info.get("version")}
        caches = _CACHE_LINE.findall(log)
        if caches:
            found["kv-cache-gib"] = float(caches[-1][0])
            found["kv-cache-tokens"] = int(caches[-1][1])
        if sizes := _SIZES_LINE.search(log):
            names = ("max-seq-len", "max-batch-size", "max-num-tokens")
            found |= {name: int(value) for name, value in zip(names, sizes.groups(), strict=True)}
        return found


def yaml_bool(value: Value) -> Value:
    """A boolean in YAML spelling; other values unchanged."""
    return str(value).lower() if isinstance(value, bool) else value
