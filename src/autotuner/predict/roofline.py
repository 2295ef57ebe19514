"""Roofline model of a replica on its GPUs: memory use, remaining KV cache, and duration of a step.

A step takes as long as the slower of computing and reading memory (the roofline), plus what does not overlap with it:
all-reduces and launches. The constants below are assumptions of the right magnitude, not measurements; only the engine
itself gives true values.
"""

from dataclasses import dataclass
from math import ceil

from pydantic import Field

from autotuner.predict.gpus import GpuModel
from autotuner.predict.models import ModelShape
from autotuner.study.base import FrozenModel

GIB = 1 << 30
COMPUTE_EFFICIENCY = 0.65
"""Share of the peak FLOP/s that large matrix products reach."""
MEMORY_EFFICIENCY = 0.8
"""Share of the peak bandwidth that reading weights and KV cache reaches."""
LINK_EFFICIENCY = 0.8
"""Share of the peak bandwidth between GPUs that is reached."""
EAGER_LAYER_S = 250e-6
"""Seconds of Python and kernel launches per layer without a CUDA graph; they overlap with computing."""
GRAPH_LAYER_S = 3e-6
"""Seconds of kernel launches per layer in a CUDA graph."""
STEP_S = 150e-6
"""Seconds of sampling and bookkeeping per step on the GPU."""
CONTEXT_GB = 0.5
"""CUDA context and kernels of one process, in GiB."""
NCCL_GB = 0.4
"""Communication buffers with more than one GPU, in GiB."""


class WeightFormat(FrozenModel):
    """How weights are stored and multiplied."""

    name: str = "bf16"
    linear_bytes: float = Field(default=2.0, gt=0)
    """Bytes per weight of a linear layer; embedding and output always have 2."""
    fp8_compute: bool = False
    """Whether activations are quantized too, so that products run in fp8 if the GPU supports it."""


BF16 = WeightFormat()
FP8 = WeightFormat(name="fp8", linear_bytes=1.0, fp8_compute=True)
INT8 = WeightFormat(name="int8", linear_bytes=1.0)
INT4 = WeightFormat(name="int4", linear_bytes=0.53)
"""4 bits, plus a 16-bit scale and zero point per group of 128."""
FP4 = WeightFormat(name="fp4", linear_bytes=0.5625)
"""4 bits, plus an 8-bit scale per group of 16."""


@dataclass(frozen=True)
class Work:
    """Work of one step."""

    tokens: int
    sequences: int
    """Rows that pass through the output matrix: requests that get a token."""
    kv_read: float = 0.0
    """KV cache tokens that attention reads."""
    pairs: float = 0.0
    """(query, key) pairs of attention."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.tokens + other.tokens,
            self.sequences + other.sequences,
            self.kv_read + other.kv_read,
            self.pairs + other.pairs,
        )


def prefill(new: int, cached: int = 0) -> Work:
    """Prefill of a prompt, or of a chunk of it, with ``new`` tokens after ``cached`` ones."""
    return Work(new, 1, cached + new, new * cached + new * (new + 1) / 2)


def decode(batch: int, context: float) -> Work:
    """Decoding of one token for each of ``batch`` requests with ``context`` tokens on average."""
    return Work(batch, batch, batch * context, batch * context)


class Replica(FrozenModel):
    """A model on ``tp * pp`` GPUs of one kind."""

    model: ModelShape
    gpu: GpuModel
    tp: int = Field(default=1, ge=1)
    pp: int = Field(default=1, ge=1)
    weights: WeightFormat = BF16
    kv_bytes: float = Field(default=2.0, gt=0)
    """Bytes per KV cache element."""

    @property
    def gpus(self) -> int:
        """GPUs of the replica."""
        return self.tp * self.pp

    @property
    def _stage(self) -> float:
        """Share of the layers on the largest pipeline stage."""
        return ceil(self.model.layers / self.pp) / self.model.layers

    @property
    def weight_bytes(self) -> float:
        """Bytes of weights on the fullest GPU."""
        m = self.model
        ends = m.vocabulary * 2.0 * (1 if m.tied or self.pp > 1 else 2)
        return (self.linear_bytes(m.always_read + m.routed) * self._stage + ends) / self.tp

    def linear_bytes(self, parameters: float) -> float:
        """Bytes of weights of linear layers in the chosen format, or as published if that is smaller."""
        return parameters * min(self.weights.linear_bytes, self.model.native_bytes)

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of KV cache per token on the fullest GPU."""
        return ceil(self.model.layers / self.pp) * self.model.kv_width(self.tp) * self.kv_bytes

    def activation_bytes(self, tokens: int, sequences: int = 1) -> float:
        """Peak of temporary memory in bytes, while ``tokens`` pass a layer and ``sequences`` the output matrix."""
        m = self.model
        width = max(m.ffn, (m.experts_per_token + m.shared_experts) * m.expert_ffn)
        by_token = 2 * (10 * m.hidden + 3 * width / self.tp)
        return tokens * by_token + 4.0 * sequences * m.vocab

    @property
    def fixed_bytes(self) -> float:
        """Bytes that CUDA and communication occupy before anything is loaded."""
        return (CONTEXT_GB + (NCCL_GB if self.gpus > 1 else 0.0)) * GIB

    def kv_tokens(self, fraction: float, reserve_bytes: float = 0.0) -> int:
        """Capacity of the KV cache in tokens.

        Args:
            fraction: Share of the GPU's memory for weights, reserve and KV cache.
            reserve_bytes: Memory for other purposes, in bytes.

        Returns:
            A negative number if not even the weights fit.
        """
        budget = fraction * self.gpu.memory_gb * GIB - self.weight_bytes - reserve_bytes
        return int(budget // self.kv_bytes_per_token)

    def step_s(self, work: Work, *, graph: bool = True) -> float:
        """Duration of one step in seconds; ``graph`` says whether its launches are replayed from a CUDA graph."""
        waves = min(self.pp, max(1, work.sequences))
        busy = max(self._compute_s(work) / waves, self._memory_s(work, waves))
        busy += self.model.layers * GRAPH_LAYER_S
        if not graph:
            busy = max(busy, self.model.layers * EAGER_LAYER_S)
        return busy + self._link_s(work, waves) + STEP_S

    def _compute_s(self, work: Work) -> float:
        m = self.model
        used = m.always_read + m.moe_layers * m.experts_per_token * m.expert_parameters
        linear = 2.0 * used * work.tokens
        width = (m.head_dim + m.value_dim) / 2 if m.kv_rank else m.head_dim
        rest = 4.0 * m.layers * m.heads * width * work.pairs + 2.0 * m.vocabulary * work.sequences
        bf16 = self.gpu.bf16_flops
        fast = self.gpu.fp8_flops if self.gpu.fp8_flops and (self.weights.fp8_compute or m.native_bytes == 1) else bf16
        return (linear / fast + rest / bf16) / (COMPUTE_EFFICIENCY * self.tp)

    def _memory_s(self, work: Work, waves: int) -> float:
        m = self.model
        read = self.linear_bytes(m.always_read + m.touched(work.tokens / waves)) + 2.0 * m.vocabulary
        moved = m.layers * m.kv_width(self.tp) * self.kv_bytes * (work.kv_read + work.tokens) / waves
        logits = 16.0 * m.vocab * work.sequences / waves
        return ((read + logits) / self.tp + moved) / (MEMORY_EFFICIENCY * self.gpu.bandwidth)

    def _link_s(self, work: Work, waves: int) -> float:
        rate = LINK_EFFICIENCY * self.gpu.link_bandwidth
        sent = 2.0 * self.model.hidden * work.tokens / waves
        between = (self.pp - 1) * (sent / rate + self.gpu.link_latency_s)
        if self.tp == 1:
            return between
        ring = 2.0 * (self.tp - 1) / self.tp * sent / rate
        return 2 * self.model.layers * (ring + self.gpu.link_latency_s) + between

    def decode_throughput(self, batch: int, context: float, *, graph: bool = True) -> float:
        """Tokens/s of ``batch`` requests that are all decoding."""
        return batch / self.step_s(decode(batch, context), graph=graph)
