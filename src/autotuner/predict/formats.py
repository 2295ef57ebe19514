"""Formats of weights and KV cache, as the engines name them."""

from collections.abc import Mapping

from autotuner.predict.models import ModelShape
from autotuner.predict.roofline import BF16, FP4, FP8, INT4, INT8, NVFP4, WeightFormat

WEIGHT_FORMATS: Mapping[str, WeightFormat] = {
    **dict.fromkeys(("fp8", "w8a8_fp8", "modelopt_fp8", "fbgemm_fp8", "fp8_per_tensor", "fp8_per_block"), FP8),
    **dict.fromkeys(("w8a8_int8", "experts_int8"), INT8),
    **dict.fromkeys(("awq", "awq_marlin", "gptq", "gptq_marlin", "moe_wna16"), INT4),
    "mxfp4": FP4,
    **dict.fromkeys(("modelopt_fp4", "nvfp4_online"), NVFP4),
}
"""The methods whose storage is known. Others exist."""
_KV_BYTES: Mapping[str, float] = {
    **dict.fromkeys(("auto", "bf16", "bfloat16", "fp16", "float16"), 2.0),
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"), 1.0),
    "nvfp4": 0.5625,
    # llama.cpp: blocks of 32 with one or two 16-bit scales
    "f32": 4.0,
    "f16": 2.0,
    "q8_0": 1.0625,
    "q5_1": 0.75,
    "q5_0": 0.6875,
    "q4_1": 0.625,
    **dict.fromkeys(("q4_0", "iq4_nl"), 0.5625),
}
"""Bytes per element."""


def published(shape: ModelShape) -> WeightFormat:
    """The format of the published checkpoint."""
    return FP8 if shape.native_bytes == 1.0 else BF16


def weight_format(name: str, shape: ModelShape) -> WeightFormat | None:
    """The format by its name; empty: as published. None if its storage is not known."""
    return WEIGHT_FORMATS.get(name) if name else published(shape)


def kv_element_bytes(name: str) -> float | None:
    """Bytes per element of the KV cache by the format's name; empty: that of the activations. None if unknown."""
    return _KV_BYTES.get(name or "auto")
