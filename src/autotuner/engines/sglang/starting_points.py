"""Values that SGLang's documentation recommends."""

from autotuner.study.search.starting_point import StartingPoint

_TUNING = "https://docs.sglang.io/advanced_features/hyperparameter_tuning.html"
STARTING_POINTS = (
    # Requests that end early leave the cache unused unless more of them are admitted.
    StartingPoint(values={"schedule-conservativeness": 0.3}, aim="throughput", source=_TUNING),
    # CUDA graphs help beyond the default's batch, above all at a high degree of tensor parallelism.
    StartingPoint(values={"cuda-graph-max-bs-decode": 512}, aim="throughput", source=_TUNING),
)
