"""Shapes of language models, sufficient to count parameters, bytes and operations.

They are those of the published ``config.json`` files; the tests compare the resulting parameter counts with the
published ones.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.study.base import FrozenModel


class ModelShape(FrozenModel):
    """A decoder-only transformer."""

    name: str
    architecture: str
    """Class name in ``config.json``."""
    layers: int = Field(ge=1)
    hidden: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    ffn: int = Field(ge=0)
    """Width of a dense feed-forward layer."""
    vocab: int = Field(ge=1)
    tied: bool = False
    """Whether embedding and output share one matrix."""
    context: int = Field(ge=1)
    """Longest context in tokens."""
    experts: int = 0
    """Routed experts of a mixture-of-experts layer; 0 for a dense model."""
    experts_per_token: int = 0
    shared_experts: int = 0
    expert_ffn: int = 0
    dense_layers: int = 0
    """Leading dense layers of a mixture-of-experts model."""
    q_rank: int = 0
    kv_rank: int = 0
    """Width of the compressed KV in latent attention (MLA); 0 for ordinary attention."""
    rope_dim: int = 0
    value_dim: int = 0
    native_bytes: float = 2.0
    """Bytes per weight of the published checkpoint: 1 for fp8."""

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def attention_parameters(self) -> int:
        """Parameters of the attention of one layer."""
        if self.kv_rank:
            queries = self.q_rank * (self.hidden + self.heads * (self.head_dim + self.rope_dim))
            if not self.q_rank:
                queries = self.hidden * self.heads * (self.head_dim + self.rope_dim)
            latent = self.hidden * (self.kv_rank + self.rope_dim)
            values = self.kv_rank * self.heads * (self.head_dim + self.value_dim)
            return queries + latent + values + self.heads * self.value_dim * self.hidden
        return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

    @property
    def expert_parameters(self) -> int:
        """Parameters of one expert."""
        return 3 * self.hidden * self.expert_ffn

    @property
    def always_read(self) -> int:
        """Parameters of the layers that every token uses: attention, dense layers, shared experts, routers."""
        dense = (self.layers - self.moe_layers) * 3 * self.hidden * self.ffn
        shared = self.moe_layers * (self.shared_experts * self.expert_parameters + self.experts * self.hidden)
        return self.layers * (self.attention_parameters + 2 * self.hidden) + dense + shared

    @property
    def routed(self) -> int:
        """Parameters of all routed experts."""
        return self.moe_layers * self.experts * self.expert_parameters

    @property
    def vocabulary(self) -> int:
        """Parameters of the output matrix, or of the embedding."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.always_read + self.routed + self.vocabulary * (1 if self.tied else 2)

    @property
    def active_parameters(self) -> int:
        """Parameters used for one token, embedding and output included."""
        chosen = self.moe_layers * self.experts_per_token * self.expert_parameters
        return self.always_read + chosen + self.vocabulary * (1 if self.tied else 2)

    def touched(self, tokens: float) -> float:
        """Expected number of parameters of routed experts that a batch of tokens reads, with uniform routing."""
        if not self.routed:
            return 0.0
        missed = math.pow(1 - self.experts_per_token / self.experts, tokens)
        return self.routed * (1 - missed)

    def kv_width(self, tp: int = 1) -> int:
        """KV cache elements per token and layer on each of ``tp`` GPUs."""
        if self.kv_rank:
            return self.kv_rank + self.rope_dim
        return 2 * max(1, self.kv_heads // tp) * self.head_dim


def _dense(
    name: str,
    family: str,
    layers: int,
    hidden: int,
    heads: int,
    kv: int,
    dim: int,
    ffn: int,
    vocab: int,
    context: int,
    *,
    tied: bool = False,
) -> ModelShape:
    return ModelShape(
        name=name,
        architecture=f"{family}ForCausalLM",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv,
        head_dim=dim,
        ffn=ffn,
        vocab=vocab,
        context=context,
        tied=tied,
    )


_QWEN_MOE = {"experts": 128, "experts_per_token": 8, "architecture": "Qwen3MoeForCausalLM"}
_DEEPSEEK = {
    "experts": 256, "experts_per_token": 8, "shared_experts": 1, "expert_ffn": 2048, "dense_layers": 3,
    "q_rank": 1536, "kv_rank": 512, "rope_dim": 64, "value_dim": 128, "native_bytes": 1.0,
}  # fmt: skip

MODELS: Mapping[str, ModelShape] = {
    m.name: m
    for m in (
        _dense("Llama-3.2-1B", "Llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, tied=True),
        _dense("Llama-3.2-3B", "Llama", 28, 3072, 24, 8, 128, 8192, 128256, 131072, tied=True),
        _dense("Llama-3.1-8B", "Llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072),
        _dense("Llama-3.1-70B", "Llama", 80, 8192, 64, 8, 128, 28672, 128256, 131072),
        _dense("Llama-3.3-70B", "Llama", 80, 8192, 64, 8, 128, 28672, 128256, 131072),
        _dense("Llama-3.1-405B", "Llama", 126, 16384, 128, 8, 128, 53248, 128256, 131072),
        _dense("Mistral-7B", "Mistral", 32, 4096, 32, 8, 128, 14336, 32768, 32768),
        _dense("Qwen3-0.6B", "Qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960, tied=True),
        _dense("Qwen3-8B", "Qwen3", 36, 4096, 32, 8, 128, 12288, 151936, 40960),
        _dense("Qwen3-32B", "Qwen3", 64, 5120, 64, 8, 128, 25600, 151936, 40960),
        _dense("Qwen3-30B-A3B", "Qwen3Moe", 48, 2048, 32, 4, 128, 6144, 151936, 40960).model_copy(
            update={**_QWEN_MOE, "expert_ffn": 768}
        ),
        _dense("Qwen3-235B-A22B", "Qwen3Moe", 94, 4096, 64, 4, 128, 12288, 151936, 40960).model_copy(
            update={**_QWEN_MOE, "expert_ffn": 1536}
        ),
        _dense("Mixtral-8x7B", "Mixtral", 32, 4096, 32, 8, 128, 14336, 32000, 32768).model_copy(
            update={"experts": 8, "experts_per_token": 2, "expert_ffn": 14336}
        ),
        _dense("DeepSeek-V3", "DeepseekV3", 61, 7168, 128, 128, 128, 18432, 129280, 163840).model_copy(
            update=_DEEPSEEK
        ),
        _dense("DeepSeek-R1", "DeepseekV3", 61, 7168, 128, 128, 128, 18432, 129280, 163840).model_copy(
            update=_DEEPSEEK
        ),
        _dense("Kimi-K2", "DeepseekV3", 61, 7168, 64, 64, 128, 18432, 163840, 131072).model_copy(
            update={**_DEEPSEEK, "experts": 384, "dense_layers": 1}
        ),
    )
}


def shape_named(name: str) -> ModelShape:
    """Looks up a model name or hub ID (``meta-llama/Llama-3.1-8B-Instruct``). Raises ``UsageError``."""
    bare = name.rstrip("/").rsplit("/", 1)[-1].lower()
    for known in sorted(MODELS, key=len, reverse=True):
        if known.lower() in bare.replace("meta-", ""):
            return MODELS[known]
    raise UsageError(
        Problem(where="model", value=name, why="unknown model shape", remedy=did_you_mean(name, list(MODELS)))
    )


_PUBLISHERS = frozenset({"meta-llama", "qwen", "mistralai", "deepseek-ai"})
_VARIANT = re.compile(r"(-(instruct|base|chat|it|hf|thinking|\d{4}|v0\.[23]))*(?P<fp8>-fp8)?")
"""What follows a shape's name for checkpoints of the same shape; others are distilled or quantized."""
_FULL_ATTENTION = frozenset(
    f"{family}ForCausalLM"
    for family in ("Llama", "Mistral", "Mixtral", "Qwen2", "Qwen3", "Qwen3Moe", "DeepseekV2", "DeepseekV3")
)
"""Architectures whose parameters and KV cache :class:`ModelShape` counts completely."""


def checkpoint_named(hub_id: str) -> ModelShape | None:
    """The shape of a published checkpoint by its Hub ID.

    Returns:
        None unless publisher and name leave no doubt about shape and format: a launch may be refused because of it.
    """
    publisher, _, bare = hub_id.lower().partition("/")
    bare = bare.removeprefix("meta-")
    for known in sorted(MODELS, key=len, reverse=True) if publisher in _PUBLISHERS else ():
        rest = bare.removeprefix(known.lower())
        if rest != bare and (variant := _VARIANT.fullmatch(rest)):
            shape = MODELS[known]
            return shape.replaced(native_bytes=1.0) if variant["fp8"] else shape
    return None


def checkpoint_from_config(name: str, config: Mapping[str, Any]) -> ModelShape | None:
    """The shape of a checkpoint from its ``config.json``, only if certain, as in :func:`checkpoint_named`.

    Returns:
        None for architectures, attention windows and quantizations that a shape does not describe completely.
    """
    try:
        shape = shape_from_config(name, config)
        method = _quantization(config).get("quant_method", "fp8")
        mixed = any(kind != "full_attention" for kind in config.get("layer_types") or ())
    except (UsageError, TypeError):
        return None
    windowed = config.get("sliding_window") and config.get("use_sliding_window", True)
    plain = shape.architecture in _FULL_ATTENTION and not windowed and not mixed and method == "fp8"
    return shape if plain and not config.get("text_config") else None


def shape_from_config(name: str, config: Mapping[str, Any]) -> ModelShape:
    """Reads the shape from a ``config.json`` of the ``transformers`` library.

    Args:
        name: Name of the model.
        config: The parsed file.

    Raises:
        UsageError: It does not describe a decoder-only transformer.
    """
    config = config.get("text_config") or config
    try:
        hidden = int(config["hidden_size"])
        heads = int(config["num_attention_heads"])
        latent = int(config.get("kv_lora_rank") or 0)
        experts = int(
            config.get("n_routed_experts") or config.get("num_experts") or config.get("num_local_experts") or 0
        )
        return ModelShape(
            name=name,
            architecture=(config.get("architectures") or ["unknown"])[0],
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int((config.get("qk_nope_head_dim") if latent else config.get("head_dim")) or hidden // heads),
            ffn=int(config.get("intermediate_size") or 0),
            vocab=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            context=int(config.get("max_position_embeddings") or 2048),
            experts=experts,
            experts_per_token=int(config.get("num_experts_per_tok") or 0) if experts else 0,
            shared_experts=int(config.get("n_shared_experts") or 0),
            expert_ffn=int(config.get("moe_intermediate_size") or config.get("intermediate_size") or 0)
            if experts
            else 0,
            dense_layers=int(config.get("first_k_dense_replace") or 0) if experts else 0,
            q_rank=int(config.get("q_lora_rank") or 0),
            kv_rank=latent,
            rope_dim=int(config.get("qk_rope_head_dim") or 0),
            value_dim=int(config.get("v_head_dim") or 0),
            native_bytes=_native_bytes(config),
        )
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        why = f"config.json does not describe a decoder-only transformer ({error})"
        raise UsageError(Problem(where="model", value=name, why=why, remedy="use the name of a known shape")) from None


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("quantization_config") or {}
    if not isinstance(found, Mapping):
        raise TypeError("quantization_config is not a mapping")
    return found


def _native_bytes(config: Mapping[str, Any]) -> float:
    method = str(_quantization(config).get("quant_method", ""))
    if method == "fp8":
        return 1.0
    return 4.0 if str(config.get("torch_dtype") or config.get("dtype")) == "float32" else 2.0


_GGUF = frozenset({"llama", "qwen2", "qwen3", "mistral", "phi3", "granite", "olmo2"})
"""Architectures of GGUF files whose layers a shape describes."""


def shape_from_gguf(name: str, metadata: Mapping[str, Any], size_bytes: int) -> ModelShape | None:
    """Reads the shape from the metadata of a GGUF file.

    Args:
        name: Name of the model.
        metadata: Values by key, with the number of tokens as ``vocab``.
        size_bytes: Size of the file, which gives the bytes per weight.

    Returns:
        None for architectures that a shape does not describe, and if a value is missing.
    """
    family = metadata.get("general.architecture")
    if family not in _GGUF or metadata.get(f"{family}.expert_count"):
        return None

    def value(key: str) -> int:
        return int(metadata[f"{family}.{key}"])

    try:
        heads = value("attention.head_count")
        hidden = value("embedding_length")
        shape = ModelShape(
            name=name,
            architecture=str(family),
            layers=value("block_count"),
            hidden=hidden,
            heads=heads,
            kv_heads=int(metadata.get(f"{family}.attention.head_count_kv") or heads),
            head_dim=int(metadata.get(f"{family}.attention.key_length") or hidden // heads),
            ffn=value("feed_forward_length"),
            vocab=int(metadata["vocab"]),
            context=value("context_length"),
        )
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return None
    return shape.replaced(native_bytes=size_bytes / shape.parameters)
