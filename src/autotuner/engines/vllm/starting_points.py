"""Values that vLLM's documentation recommends."""

from autotuner.study.search.starting_point import StartingPoint

_TUNING = "https://docs.vllm.ai/en/stable/configuration/optimization/"
STARTING_POINTS = (
    # More than 8192 for throughput, above all for small models on large GPUs; about 2048 for a short time per token.
    StartingPoint(values={"max-num-batched-tokens": 16384}, aim="throughput", source=_TUNING),
    StartingPoint(values={"max-num-batched-tokens": 2048}, aim="latency", source=_TUNING),
)
