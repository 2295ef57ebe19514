"""What is known about a server before it is launched, in terms that all engines share."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.study.base import FrozenModel, Value


class Serving(FrozenModel):
    """How a server would serve its model: the engine's own flags and defaults, translated.

    Fields that neither the flags nor the engine's documented defaults determine are None or empty. The model and the
    GPU are not part of it.
    """

    engine: str = ""
    """Kind of the engine."""
    shape: str = ""
    """Name of the model's shape, if the engine's settings determine it."""
    simulated: bool = False
    """Whether the server is the simulator, which follows the prediction exactly."""
    tp: int = Field(default=1, ge=1)
    pp: int = Field(default=1, ge=1)
    dp: int = Field(default=1, ge=1)
    """Complete replicas behind one address, each on ``tp * pp`` GPUs."""
    ep: int = Field(default=1, ge=1)
    """GPUs that the routed experts are distributed over: those of one replica, or of all with vLLM."""
    attention_dp: int = Field(default=1, ge=1)
    """Groups of GPUs, out of ``tp``, that compute the attention of different requests."""
    weights: str = ""
    """Weight format, as the engine names it; empty: as published."""
    kv: str = ""
    """Format of the KV cache, as the engine names it; empty: that of the activations."""
    memory_fraction: float | None = Field(default=None, ge=0)
    """Share of a GPU's memory that the engine plans with; what it covers is the engine's own rule."""
    static_gb: float | None = Field(default=None, gt=0)
    """KV cache per GPU in GiB, if it is set directly."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Limit of the KV cache in tokens, if it is set directly."""
    max_sequences: int | None = Field(default=None, ge=1)
    """Requests that one replica computes in one step."""
    max_batched_tokens: int | None = Field(default=None, ge=1)
    """Tokens that one replica computes in one step."""
    chunk: int | None = Field(default=None, ge=0)
    """Prompt tokens that one request computes in one step; 0: whole prompts."""
    context: int | None = Field(default=None, ge=1)
    """Longest request in tokens; None: the model's own limit."""
    page: int = Field(default=1, ge=1)
    """Tokens per block of the KV cache."""
    graphs: bool = True
    """Whether decoding steps are replayed from CUDA graphs."""
    graph_max: int | None = Field(default=None, ge=0)
    """Largest decoding batch that is captured; 0: none."""
    graph_max_prefill: int | None = Field(default=None, ge=0)
    """Longest prefill in tokens that is captured; 0: none."""
    prefix_cache: bool = True
    speculative: str | None = None
    """Method of speculative decoding."""
    slots: int | None = Field(default=None, ge=1)
    """Requests that share the context between them (llama.cpp)."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads that compute."""
    flags: Mapping[str, Value] = Field(default_factory=dict)
    """All flags by canonical name."""

    @property
    def gpus(self) -> int:
        """GPUs of all replicas together."""
        return self.tp * self.pp * self.dp
