"""Step times from aiconfigurator's tables of measured operators.

Only its core is needed. Nearly all of the time of its functions is spent on reading YAML files and tables, so whatever
they return is cached.
"""

import logging
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import aiconfigurator_core  # noqa: F401 - the rest, which takes seconds, is imported when first used

from autotuner.plugins.prior import KnownServer, NoPredictionError, Prior, RequestTokens
from autotuner.priors.aiconfigurator.servers import OPEN, Checkpoint, Server, described, server_of
from autotuner.study.search.serving import Serving

if TYPE_CHECKING:
    from aiconfigurator_core.sdk import EngineHandle

# Without a handler, Python would print its warnings about missing tables to the terminal.
logging.getLogger("aiconfigurator_core").addHandler(logging.NullHandler())

_PROBE = 128
"""Tokens of a prompt that shows whether there are tables for an engine."""


class _Compiled(NamedTuple):
    """An engine with the format of the KV cache that there are tables for; None: its own choice."""

    engine: "EngineHandle"
    kv: str | None


class Aiconfigurator(Prior):
    """Knows the servers that its tables of measured operators describe."""

    kind: ClassVar[str] = "aiconfigurator"

    @property
    def version(self) -> str:
        """Version of its core, which contains the tables."""
        return version("aiconfigurator-core")

    def server(self, model: str, gpu: str, serving: Serving) -> KnownServer | None:
        """See :meth:`Prior.server`."""
        checkpoint = _checkpoint(model) if described(gpu, serving) else None
        server = None if checkpoint is None else server_of(model, checkpoint, gpu, serving)
        compiled = None if server is None else _compiled(server)
        return None if server is None or compiled is None else _KnownServer(server, serving, compiled)


class _KnownServer(KnownServer):
    """One replica, or one of vLLM's replicas that share their experts."""

    def __init__(self, server: Server, serving: Serving, compiled: _Compiled) -> None:
        self._server = server
        self._serving = serving
        self._compiled = compiled

    def step_s(self, requests: float, prompt: float, tokens: RequestTokens) -> float:
        """See :meth:`KnownServer.step_s`."""
        groups = self._serving.attention_dp
        waves = min(float(self._serving.pp), max(1.0, requests))
        decoding = max(1, round(requests / groups / waves)) if requests else 0
        # The busiest group computes at least one whole prompt.
        computed = max(prompt / groups, min(prompt, float(tokens.prompt))) / waves
        step = _Step(max(1, round(computed)) if prompt else 0, decoding, tokens)
        return _step_ms(self._compiled.engine, step) / 1e3

    def kv_tokens(self) -> int | None:
        """See :meth:`KnownServer.kv_tokens`."""
        serving = self._serving
        found = _cache(
            self._server,
            self._compiled.kv,
            serving.max_batched_tokens or 1,
            serving.max_sequences or 1,
            min(1.0, serving.memory_fraction or 1.0),
        )
        if found is None:
            return None
        tokens, token_bytes = found
        if serving.static_gb:
            tokens = int(serving.static_gb * 2**30 / token_bytes)
        return min(tokens, serving.max_tokens or tokens) * serving.attention_dp


class _Step(NamedTuple):
    """Work of one step on one group of GPUs."""

    prompt: int
    requests: int
    tokens: RequestTokens


@lru_cache(maxsize=200_000)
def _step_ms(engine: "EngineHandle", step: _Step) -> float:
    """Milliseconds of a step. Raises ``NoPredictionError`` where the tables end."""
    tokens = step.tokens
    whole = tokens.cached + tokens.prompt
    output = max(2, tokens.output)  # of a single token, it knows no decoding step
    try:
        if not step.prompt:
            return float(engine.decode_step_latency(step.requests, whole, output))
        return float(engine.mixed_step_latency(step.prompt, step.requests, whole, output, tokens.cached))
    except Exception as error:
        # It raises errors of a dozen types, some of them from Rust. All mean that there is no answer.
        raise NoPredictionError(str(error)) from error


@lru_cache(maxsize=16)
def _checkpoint(model: str) -> Checkpoint | None:
    """The model; None if it is unknown. One of the Hub is known if its configuration is part of the package: nothing is
    downloaded."""
    from aiconfigurator_core.sdk.common import DefaultHFModels
    from aiconfigurator_core.sdk.models import check_is_moe
    from aiconfigurator_core.sdk.utils import get_model_config_from_model_path

    if model not in DefaultHFModels and not Path(model).is_dir():
        return None
    try:
        config = get_model_config_from_model_path(model)["raw_config"]
        weights = str(config.get("quant_algo") or OPEN)
        return Checkpoint(bool(check_is_moe(model)), weights, str(config.get("kv_cache_quant_algo") or OPEN))
    except Exception:
        return None  # an architecture or a quantization that it does not know


@lru_cache(maxsize=512)
def _compiled(server: Server) -> _Compiled | None:
    """The engine of a server; None if there are no tables for it."""
    from aiconfigurator_core.sdk import EngineHandle

    for kv in _kv_formats(server):
        for attention in (None, "bfloat16"):
            try:
                engine = EngineHandle.compile(
                    server.model,
                    server.system,
                    server.backend,
                    kvcache_quant_mode=kv,
                    fmha_quant_mode=attention,
                    **server.options,
                )
                engine.decode_step_latency(1, _PROBE, 2)
                engine.mixed_step_latency(_PROBE, 1, _PROBE, 2)
            except Exception:  # noqa: S112 - as in _step_ms: no tables
                continue
            return _Compiled(engine, kv)
    return None


def _kv_formats(server: Server) -> list[str | None]:
    """Formats of the KV cache to look for, by preference; None: its own choice."""
    if server.kv != OPEN:
        return [server.kv]
    checkpoint = _checkpoint(server.model)
    if checkpoint is None or checkpoint.kv != OPEN:
        return [None]
    # Engines keep the cache in 16 bits unless told otherwise; its own choice follows the weights.
    return ["bfloat16", None]


@lru_cache(maxsize=64)
def _release(system: str, backend: str) -> str | None:
    """The release of an engine that its tables are from. To find it takes seconds: it reads hundreds of YAML files."""
    from aiconfigurator_core.sdk.perf_database import get_latest_database_version

    release: str | None = get_latest_database_version(system, backend)
    return release


@lru_cache(maxsize=2048)
def _cache(server: Server, kv: str | None, tokens: int, requests: int, fraction: float) -> tuple[int, int] | None:
    """(tokens in the KV cache of each group of GPUs, bytes of each); None if there is no room."""
    from aiconfigurator_core.sdk import estimate_kv_cache

    try:
        found = estimate_kv_cache(
            server.model,
            server.system,
            server.backend,
            _release(server.system, server.backend),
            max_num_tokens=tokens,
            max_batch_size=requests,
            memory_fraction_kind="of_total",
            memory_fraction_value=fraction,
            kvcache_quant_mode=kv,
            **server.options,
        )
        return int(found["total_kv_size_tokens"]), int(found["kv_size_per_token_bytes"])
    except Exception:
        return None  # as in _step_ms
