"""Roofline model of a replica on its GPUs: memory use, remaining KV cache, and duration of a step.

A step takes as long as the slower of computing and reading memory (the roofline), plus what does not overlap with it:
all-reduces and launches. The constants below are assumptions of the right magnitude, not measurements; only the engine
itself gives true values.
"""

from dataclasses import dataclass
from math import ceil, log, sqrt

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
NETWORK_BANDWIDTH = 50e9
"""Bytes/s of a GPU to other nodes: one 400 Gbit/s adapter for each."""
NETWORK_LATENCY_S = 25e-6
"""Latency of a small all-reduce between nodes. Assumed value."""
NCCL_GB = 0.4
"""Communication buffers with more than one GPU, in GiB."""


class WeightFormat(FrozenModel):
    """How weights are stored and multiplied."""

    name: str = "bf16"
    linear_bytes: float = Field(default=2.0, gt=0)
    """Bytes per weight of a linear layer; embedding and output always have 2."""
    fp8_compute: bool = False
    """Whether activations are quantized too, so that products run in fp8 if the GPU supports it."""
    fp4_compute: bool = False
    """Whether products run in fp4 if the GPU supports it, or else in fp8."""


BF16 = WeightFormat()
FP8 = WeightFormat(name="fp8", linear_bytes=1.0, fp8_compute=True)
INT8 = WeightFormat(name="int8", linear_bytes=1.0)
INT4 = WeightFormat(name="int4", linear_bytes=0.53)
"""4 bits, plus a 16-bit scale and zero point per group of 128."""
FP4 = WeightFormat(name="fp4", linear_bytes=0.5625)
"""4 bits, plus an 8-bit scale per group of 16."""
NVFP4 = WeightFormat(name="nvfp4", linear_bytes=0.5625, fp4_compute=True)
"""The same format, for activations too."""


@dataclass(frozen=True)
class Calibration:
    """Corrections to the assumptions of a prediction. Factors of 1 leave it as it is."""

    compute: float = 1.0
    """Factor of the compute efficiency."""
    memory: float = 1.0
    """Factor of the bandwidth efficiency."""
    link: float = 1.0
    """Factor of the speed between GPUs."""
    step: float = 1.0
    """Factor of the overhead per step."""
    queue: float = 1.0
    """Factor of the time that a request waits before it is computed."""
    kernels_s: float = 0.0
    """Minimum seconds of a kernel, for the small ones of each layer."""
    request_s: float = 0.0
    """Seconds between the server and the client for a request: HTTP, tokenization and the hand-over to the engine."""


SIMULATED = Calibration()
"""The times of the simulator: no corrections."""
REAL = Calibration(kernels_s=2e-6, step=4.0, request_s=0.02)
"""What the simulator leaves out, assumed from the structure of the engines, not from measurements.

A kernel takes at least about 2 us, also in a CUDA graph; sampling and scheduling take about half a millisecond; a
request passes through HTTP, a tokenizer and two processes.
"""
NATIVE = Calibration(kernels_s=2e-6, request_s=0.002)
"""A server in C++ on a CPU: threads meet after each small operation, and a request passes through HTTP only."""


@dataclass(frozen=True)
class Work:
    """Work of one step."""

    tokens: float
    sequences: float
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


def decode(batch: float, context: float) -> Work:
    """Decoding of one token for each of ``batch`` requests with ``context`` tokens on average."""
    return Work(batch, batch, batch * context, batch * context)


class Replica(FrozenModel):
    """A model on ``tp * pp`` GPUs of one kind."""

    model: ModelShape
    gpu: GpuModel
    tp: int = Field(default=1, ge=1)
    pp: int = Field(default=1, ge=1)
    ep: int = Field(default=1, ge=1)
    """GPUs that the routed experts are distributed over, if these are more than ``tp``."""
    attention_dp: int = Field(default=1, ge=1)
    """Groups of GPUs, out of ``tp``, that compute the attention of different requests."""
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
    def attention_tp(self) -> int:
        """GPUs that share the attention of one request."""
        return max(1, self.tp // self.attention_dp)

    @property
    def weight_bytes(self) -> float:
        """Bytes of weights on the fullest GPU."""
        m = self.model
        ends = m.vocabulary * 2.0 * (1 if m.tied or self.pp > 1 else 2) / self.tp
        attention = m.layers * m.attention_parameters
        parameters = (
            attention / self.attention_tp + (m.always_read - attention) / self.tp + m.routed / max(self.tp, self.ep)
        )
        return self.linear_bytes(parameters) * self._stage + ends

    def linear_bytes(self, parameters: float) -> float:
        """Bytes of weights of linear layers in the chosen format, or as published if that is smaller."""
        return parameters * min(self.weights.linear_bytes, self.model.native_bytes)

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of KV cache per token on the fullest GPU."""
        return ceil(self.model.layers / self.pp) * self.model.kv_width(self.attention_tp) * self.kv_bytes

    def activation_bytes(self, tokens: float, sequences: float = 1) -> float:
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
        """Duration of one step in seconds, as the simulator takes it; see :class:`StepTimes`."""
        return StepTimes(self).step_s(work, graph=graph)

    def decode_throughput(self, batch: float, context: float, *, graph: bool = True) -> float:
        """Tokens/s of ``batch`` requests that are all decoding."""
        return batch / self.step_s(decode(batch, context), graph=graph)


class StepTimes:
    """Durations of the steps of a replica.

    Args:
        replica: Model, GPUs and formats.
        calibration: Corrections to the assumed efficiencies.
    """

    def __init__(self, replica: Replica, calibration: Calibration = SIMULATED) -> None:
        m = replica.model
        self._replica = replica
        self._known = calibration
        self._layers = m.layers
        self._attention = float(m.layers * m.attention_parameters)
        self._shared = m.always_read - self._attention
        self._expert = float(m.expert_parameters)
        self._moe_layers = m.moe_layers if m.routed else 0
        self._chosen = m.experts_per_token
        self._vocabulary = m.vocabulary
        small = 6 + (6 if m.experts else 0) + (4 if m.kv_rank else 0)
        self._launches_s = m.layers * (GRAPH_LAYER_S + calibration.kernels_s * small)
        width = (m.head_dim + m.value_dim) / 2 if m.kv_rank else m.head_dim
        self._pair_flops = 4.0 * m.layers * m.heads * width
        self._kv_bytes = m.layers * m.kv_width(replica.attention_tp) * replica.kv_bytes
        self._flops = COMPUTE_EFFICIENCY * calibration.compute * replica.tp
        self._fast = _fast_flops(replica)
        self._bandwidth = MEMORY_EFFICIENCY * calibration.memory * replica.gpu.bandwidth

    def step_s(self, work: Work, *, graph: bool = True) -> float:
        """Duration of one step in seconds; ``graph`` says whether its launches are replayed from a CUDA graph."""
        waves = min(float(self._replica.pp), max(1.0, work.sequences))
        uneven = self._uneven(work.sequences)
        busy = max(self._compute_s(work, uneven) / waves, self._memory_s(work, waves, uneven)) + self._launches_s
        if not graph:
            busy = max(busy, self._layers * EAGER_LAYER_S)
        return busy + self._link_s(work, waves, uneven) / self._known.link + STEP_S * self._known.step

    def _uneven(self, sequences: float) -> float:
        """Attention work of the busiest group relative to the mean of all groups."""
        groups = self._replica.attention_dp
        if groups == 1:
            return 1.0
        requests = max(1.0, sequences)
        return ceil(requests / groups) * groups / requests

    def _compute_s(self, work: Work, uneven: float) -> float:
        replica = self._replica
        linear = 2.0 * (self._attention * uneven + self._shared) * work.tokens
        spread = max(replica.tp, replica.ep) / replica.tp
        experts = 2.0 * self._moe_layers * self._chosen * self._expert * work.tokens / spread
        rest = self._pair_flops * work.pairs * uneven + 2.0 * self._vocabulary * work.sequences
        return ((linear + experts) / self._fast + rest / replica.gpu.bf16_flops) / self._flops

    def _memory_s(self, work: Work, waves: float, uneven: float) -> float:
        replica = self._replica
        m = replica.model
        read = self._attention / replica.attention_tp + self._shared / replica.tp
        if self._moe_layers:
            read += self._experts_read(work.tokens / waves)
        ends = (2.0 * self._vocabulary + 16.0 * m.vocab * work.sequences / waves) / replica.tp
        tokens = (work.kv_read + work.tokens) / (waves * replica.attention_dp) * uneven
        return (replica.linear_bytes(read) + ends + self._kv_bytes * tokens) / self._bandwidth

    def _experts_read(self, tokens: float) -> float:
        """Parameters of routed experts that the busiest GPU reads.

        Whole experts on each GPU (``ep``) are used unevenly: of a mean of ``n``, the busiest of ``ep`` GPUs uses about
        ``sqrt(2 n log(ep))`` more, and never more than it holds.
        """
        replica = self._replica
        m = replica.model
        gpus = max(replica.tp, replica.ep)
        mean = m.touched(tokens) / gpus
        if replica.ep == 1:
            return mean
        layer = self._moe_layers * self._expert
        number = mean / layer
        return min(number + sqrt(2 * number * log(replica.ep)), max(number, m.experts / gpus)) * layer

    def _link_s(self, work: Work, waves: float, uneven: float) -> float:
        replica = self._replica
        gpu = replica.gpu
        sent = 2.0 * replica.model.hidden * work.tokens / waves
        between = (replica.pp - 1) * (sent / (LINK_EFFICIENCY * gpu.link_bandwidth) + gpu.link_latency_s)
        exchange = _exchange_s(gpu, replica.tp, sent)
        if replica.attention_dp == 1:
            return self._layers * 2 * exchange + between
        # Groups exchange tokens before and after the feed-forward layer, which costs as much as one all-reduce.
        within = _exchange_s(gpu, replica.attention_tp, sent / replica.attention_dp * uneven)
        return self._layers * (exchange + within) + between


def _fast_flops(replica: Replica) -> float:
    """FLOP/s of products of linear layers."""
    gpu = replica.gpu
    weights = replica.weights
    if weights.fp4_compute and gpu.fp4_flops:
        return gpu.fp4_flops
    fp8 = weights.fp8_compute or weights.fp4_compute or replica.model.native_bytes == 1
    return gpu.fp8_flops if gpu.fp8_flops and fp8 else gpu.bf16_flops


def _exchange_s(gpu: GpuModel, gpus: int, sent: float) -> float:
    """Duration of one all-reduce of ``sent`` bytes among GPUs: within nodes, then between them."""
    if gpus == 1:
        return 0.0
    near = min(gpus, gpu.node)
    rate = LINK_EFFICIENCY * gpu.link_bandwidth
    took = 2.0 * (near - 1) / near * sent / rate + gpu.link_latency_s
    nodes = ceil(gpus / near)
    if nodes > 1:
        took += 2.0 * (nodes - 1) / nodes * sent / near / (LINK_EFFICIENCY * NETWORK_BANDWIDTH) + NETWORK_LATENCY_S
    return took
