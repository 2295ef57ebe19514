"""Values that vLLM's documentation recommends."""

from autotuner.study.search.starting_point import StartingPoint

_TUNING = "https://docs.vllm.ai/en/stable/configuration/optimization/"
STARTING_POINTS = (
    # More than 8192 for throughput, above all for small models on large GPUs. A larger batch also has room for more
    # tokens of prompts, which shortens the time to the first token; about 2048 shortens the time per token, because
    # fewer prompts slow down the decoding.
    StartingPoint(values={"max-num-batched-tokens": 16384}, aim="throughput", source=_TUNING),
    StartingPoint(values={"max-num-batched-tokens": 16384}, aim="ttft", source=_TUNING),
    StartingPoint(values={"max-num-batched-tokens": 2048}, aim="tpot", source=_TUNING),
)
