"""Portable values that an engine refuses, by kind of engine."""

from support.engine_cases import Refused

REFUSED: tuple[tuple[str, Refused], ...] = (
    ("sglang", Refused({"quantization.kv-cache": "int8"}, "quantization.kv_cache",
                       ("auto, bfloat16, fp8, fp8_e4m3, fp8_e5m2, mxfp8, nvfp4",))),
    ("sglang", Refused({"quantization.gemm": "int8"}, "quantization.gemm",
                       ("auto, float16, bfloat16, float32, fp8, mxfp8", "checkpoint"))),
    ("sglang", Refused({"quantization.attention": "fp8", "quantization.kv-cache": "fp8_e5m2"},
                       "quantization.attention", ("kv_cache: fp8|fp8_e4m3",))),
    ("sglang", Refused({"quantization.moe": "fp8"}, "quantization.moe", ("gemm: fp8",))),
    ("sglang", Refused({"parallelism.cp": 2}, "parallelism.cp", ("attn-cp-size", "enable-prefill-cp", "cp-strategy"))),
    ("vllm", Refused({"quantization.attention": "fp8"}, "quantization.attention", ("auto", "kv_cache: fp8"))),
    ("vllm", Refused({"parallelism.tp": 4, "parallelism.ep": 2}, "parallelism.ep", ("tp * dp * cp", "4 or 1"))),
    ("tensorrt_llm", Refused({"parallelism.dp": 2}, "parallelism.dp", ("above 1", "enable-attention-dp"))),
    ("tensorrt_llm", Refused({"quantization.gemm": "fp8"}, "quantization.gemm", ("auto", "quantized checkpoint"))),
    ("tensorrt_llm", Refused({"parallelism.preset": "balanced"}, "parallelism.preset",
                             ("large-model-tp, large-model-tp-pp, long-context, moe-optimized, single-gpu",))),
    ("sglang", Refused({"parallelism.tp": True}, "parallelism.tp", ("whole number", "1"))),
)  # fmt: skip
