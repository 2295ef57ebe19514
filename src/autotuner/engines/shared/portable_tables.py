"""The flags of each engine that express portable settings, as data, with sources.

SGLang 0.5.23: ``srt/arg_groups/fields/{model,parallel,exec_}.py``, ``choices.py`` (which quantizations work on load),
``layers/attention/flashattention_backend.py`` (queries take the KV cache's type) and ``overrides.py`` (FA3 has no
e5m2). vLLM 0.32.0: ``config/{cache,model,parallel,quantization}.py``, ``model_executor/layers/quantization/fp8.py``
(``fp8`` is for checkpoints only, ``fp8_per_tensor`` works on load), ``online/base.py``. TensorRT-LLM:
``tests/unittest/api_stability/references/trtllm_serve_cli.yaml`` at commit 029e223 (every option of trtllm-serve).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotuner.study.base import Value


@dataclass(frozen=True)
class Rule:
    """Flags that express a value, provided that other keys (``auto`` if left out) have one of the given values."""

    flags: Mapping[str, Value] = field(default_factory=dict)
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Degree:
    """How an engine sets a number of GPUs."""

    flag: str
    only_one: str = ""
    """Set if the engine supports only 1: what to do instead."""
    spans: tuple[str, ...] = ()
    """Set if the flag is a switch: the number can only be 1 or the product of these keys."""


@dataclass(frozen=True)
class Preset:
    """Values of the section's keys, plus flags that no key expresses."""

    meaning: str
    keys: Mapping[str, Value] = field(default_factory=dict)
    flags: Mapping[str, Value] = field(default_factory=dict)


Rules = Mapping[str, tuple[Rule, ...]]


@dataclass(frozen=True)
class Table:
    """One engine. If several rules of a value apply, the first one wins."""

    quantization: Mapping[str, Rules]
    parallelism: Mapping[str, Degree]
    presets: Mapping[str, Mapping[str, Preset]]
    remedies: Mapping[str, str]
    """By key: what to do if the engine does not support a value."""
    spellings: tuple[tuple[str, ...], ...]
    """Groups of names for one flag; this module uses the first name."""


AUTO: Rules = {"auto": (Rule(),)}
PLAIN = ("auto", "float16", "bfloat16")
"""GEMM types that leave the weights unquantized and that kernels for quantized experts accept."""


def _dtypes() -> Rules:
    return {name: (Rule({"dtype": name}),) for name in ("float16", "bfloat16", "float32")}


def _like_gemm(*names: str) -> Rules:
    return {name: (Rule(when={"gemm": (name,)}),) for name in names}


def _kv(**names: str) -> Rules:
    return {**AUTO, **{name: (Rule({"kv-cache-dtype": flag}),) for name, flag in names.items()}}


_FP8_KV = {"kv-cache": ("fp8", "fp8_e4m3")}
_FA3 = (Rule({"attention-backend": "fa3"}, when=_FP8_KV),)

SGLANG = Table(
    quantization={
        "gemm": {
            **AUTO, **_dtypes(), "fp8": (Rule({"quantization": "fp8"}),), "mxfp8": (Rule({"quantization": "mxfp8"}),),
        },
        "kv-cache": _kv(
            bfloat16="bfloat16", fp8="fp8_e4m3", fp8_e4m3="fp8_e4m3", fp8_e5m2="fp8_e5m2", mxfp8="mxfp8", nvfp4="nvfp4"
        ),
        "attention": {**AUTO, "fp8": _FA3, "fp8_e4m3": _FA3},
        "moe": {
            **AUTO, **_like_gemm("float16", "bfloat16", "fp8", "mxfp8"),
            "mxfp4": (Rule({"quantization": "mxfp4"}, when={"gemm": PLAIN}),),
            "w4afp8": (Rule({"quantization": "w4afp8"}, when={"gemm": PLAIN}),),
        },
    },
    parallelism={
        "tp": Degree("tp-size"), "pp": Degree("pp-size"), "dp": Degree("dp-size"), "ep": Degree("ep-size"),
        "cp": Degree(
            "attn-cp-size",
            only_one="its context parallelism is part of tp; use attn-cp-size, enable-prefill-cp and cp-strategy",
        ),
    },
    presets={
        "quantization": {
            "default": Preset("sets nothing"),
            "kv-cache-fp8": Preset("KV cache in 8 bits", {"kv-cache": "fp8_e5m2"}),
            "dynamic-fp8": Preset("weights, experts and KV cache in 8 bits", {"gemm": "fp8", "kv-cache": "fp8_e5m2"}),
            "bf16-stable": Preset("weights in 16, KV cache in 8 bits", {"gemm": "bfloat16", "kv-cache": "fp8_e5m2"}),
            "aggressive-moe": Preset(
                "experts in 4, KV cache in 8 bits; needs a W4AFP8 checkpoint",
                {"gemm": "bfloat16", "kv-cache": "fp8_e5m2", "moe": "w4afp8"},
            ),
        },
        "parallelism": {
            "single-gpu": Preset("1 GPU, set explicitly", {"tp": 1, "pp": 1, "dp": 1, "ep": 1}),
            "high-throughput": Preset("8 copies", {"tp": 1, "pp": 1, "dp": 8}),
            "large-model-tp": Preset("layers over 8 GPUs", {"tp": 8, "pp": 1, "dp": 1}),
            "large-model-tp-pp": Preset("2 stages of 8 GPUs", {"tp": 8, "pp": 2, "dp": 1}),
            "moe-optimized": Preset(
                "experts over 16 GPUs, attention in 8 groups of 2",
                {"tp": 16, "pp": 1, "dp": 1, "ep": 16}, {"attn-dp-size": 8},
            ),
            "balanced": Preset("4 copies of 2 GPUs", {"tp": 2, "pp": 1, "dp": 4}),
        },
    },
    remedies={
        "gemm": "leave it out if the checkpoint is quantized",
        "attention": "for attention in fp8, write attention: fp8 and kv_cache: fp8_e4m3",
        "moe": "experts follow gemm",
    },
    spellings=(
        ("tp-size", "tensor-parallel-size"), ("pp-size", "pipeline-parallel-size"), ("dp-size", "data-parallel-size"),
        ("ep-size", "expert-parallel-size", "ep"), ("attn-cp-size", "attention-context-parallel-size"),
        ("attn-dp-size", "attention-data-parallel-size"),
    ),
)  # fmt: skip


def _online_experts(name: str) -> tuple[Rule, ...]:
    """Quantized experts: an entry of vLLM's quantization config, next to the quantization of linear layers."""
    config = {"quantization-config": f'{{"moe": "{name}"}}'}
    return (
        Rule({"quantization": "online", **config}, when={"gemm": PLAIN}),
        Rule(config, when={"gemm": ("fp8", "mxfp8", "mxfp4")}),
    )


def _online(gemm: str, name: str) -> tuple[Rule, ...]:
    """Like :func:`_online_experts`, but ``gemm`` of the given value quantizes the experts as well, without a flag."""
    return Rule(when={"gemm": (gemm,)}), *_online_experts(name)


VLLM = Table(
    quantization={
        "gemm": {
            **AUTO, **_dtypes(), "fp8": (Rule({"quantization": "fp8_per_tensor"}),),
            "mxfp8": (Rule({"quantization": "mxfp8"}),), "mxfp4": (Rule({"quantization": "mxfp4"}),),
        },
        "kv-cache": _kv(
            float16="float16", bfloat16="bfloat16", fp8="fp8", fp8_e4m3="fp8_e4m3", fp8_e5m2="fp8_e5m2", nvfp4="nvfp4",
            int8="int8_per_token_head", int4="int4_per_token_head",
        ),
        "attention": AUTO,
        "moe": {
            **AUTO, **_like_gemm("float16", "bfloat16"), "fp8": _online("fp8", "fp8_per_tensor"),
            "mxfp8": _online("mxfp8", "mxfp8"), "mxfp4": _online("mxfp4", "mxfp4"),
            "nvfp4": _online_experts("nvfp4_per_token"), "int8": _online_experts("int8_per_channel_weight_only"),
        },
    },
    parallelism={
        "tp": Degree("tensor-parallel-size"), "pp": Degree("pipeline-parallel-size"),
        "dp": Degree("data-parallel-size"), "cp": Degree("prefill-context-parallel-size"),
        "ep": Degree("enable-expert-parallel", spans=("tp", "dp", "cp")),
    },
    presets={
        "quantization": {
            "default": Preset("sets nothing"),
            "kv-cache-fp8": Preset("KV cache in 8 bits", {"kv-cache": "fp8"}),
            "dynamic-fp8": Preset("weights, experts and KV cache in 8 bits", {"gemm": "fp8", "kv-cache": "fp8"}),
            "bf16-stable": Preset("weights in 16, KV cache in 8 bits", {"gemm": "bfloat16", "kv-cache": "fp8"}),
            "aggressive-moe": Preset(
                "experts in 4, KV cache in 8 bits", {"gemm": "bfloat16", "kv-cache": "fp8", "moe": "mxfp4"}
            ),
        },
        "parallelism": {
            "single-gpu": Preset("1 GPU, set explicitly", {"tp": 1, "pp": 1, "dp": 1}),
            "high-throughput": Preset("8 copies", {"tp": 1, "pp": 1, "dp": 8}),
            "large-model-tp": Preset("layers over 8 GPUs", {"tp": 8, "pp": 1, "dp": 1}),
            "large-model-tp-pp": Preset("2 stages of 8 GPUs", {"tp": 8, "pp": 2, "dp": 1}),
            "moe-optimized": Preset(
                "experts over 16 GPUs, attention in 8 groups of 2",
                {"tp": 2, "pp": 1, "dp": 8}, {"enable-expert-parallel": True},
            ),
            "long-context": Preset(
                "4 GPUs share the KV cache of each request",
                {"tp": 4, "pp": 1, "dp": 1}, {"decode-context-parallel-size": 4},
            ),
            "balanced": Preset("4 copies of 2 GPUs", {"tp": 2, "pp": 1, "dp": 4}),
        },
    },
    remedies={
        "gemm": "leave it out if the checkpoint is quantized",
        "attention": "attention uses the type of the KV cache; write kv_cache: fp8",
        "moe": "leave it out: experts follow gemm",
    },
    spellings=(
        ("tensor-parallel-size", "tp"), ("pipeline-parallel-size", "pp"), ("data-parallel-size", "dp"),
        ("prefill-context-parallel-size", "pcp"), ("decode-context-parallel-size", "dcp"),
        ("enable-expert-parallel", "ep"), ("quantization", "q"),
    ),
)  # fmt: skip

TENSORRT_LLM = Table(
    quantization={
        "gemm": AUTO,
        "kv-cache": _kv(fp8="fp8", fp8_e4m3="fp8", nvfp4="nvfp4"),
        "attention": AUTO,
        "moe": AUTO,
    },
    parallelism={
        "tp": Degree("tp-size"), "pp": Degree("pp-size"), "ep": Degree("ep-size"), "cp": Degree("cp-size"),
        "dp": Degree("", only_one="run several servers, or use enable-attention-dp"),
    },
    presets={
        "quantization": {
            "default": Preset("sets nothing"),
            "kv-cache-fp8": Preset("KV cache in 8 bits", {"kv-cache": "fp8"}),
        },
        "parallelism": {
            "single-gpu": Preset("1 GPU, set explicitly", {"tp": 1, "pp": 1, "cp": 1}),
            "large-model-tp": Preset("layers over 8 GPUs", {"tp": 8, "pp": 1}),
            "large-model-tp-pp": Preset("2 stages of 8 GPUs", {"tp": 8, "pp": 2}),
            "moe-optimized": Preset("experts in 8 groups of 2 GPUs", {"tp": 16, "pp": 1, "ep": 8}),
            "long-context": Preset("16 GPUs, 2 of which share each part of a prompt", {"tp": 8, "pp": 1, "cp": 2}),
        },
    },
    remedies=dict.fromkeys(
        ("gemm", "attention", "moe"), "trtllm-serve does not quantize while loading; use a quantized checkpoint"
    ),
    spellings=(
        ("tp-size", "tensor-parallel-size"), ("pp-size", "pipeline-parallel-size"),
        ("ep-size", "moe-expert-parallel-size"), ("cp-size", "context-parallel-size"),
    ),
)  # fmt: skip

TABLES: Mapping[str, Table] = {"sglang": SGLANG, "vllm": VLLM, "tensorrt_llm": TENSORRT_LLM}
