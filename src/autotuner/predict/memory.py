"""What fits on a GPU: weights, KV cache, activations and graphs by the rules of each engine.

The simulator starts by the same rules, so it cannot disagree with a refusal before a launch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

from autotuner.predict.formats import kv_element_bytes, weight_format
from autotuner.predict.gpus import GpuModel
from autotuner.predict.models import ModelShape
from autotuner.predict.roofline import GIB, Replica
from autotuner.study.search.serving import Serving

MARGIN = 0.05
"""How much more memory a real GPU is credited with before a launch is refused.

Parameter counts agree with the published ones within 1%, and the memory that drivers report varies by 1 to 2% between
boards; the margin is about twice their sum. A refused configuration that would have started is a lost result, while a
launch that fails costs minutes."""


_FRACTIONS = (0.8, 0.85, 0.9, 0.95)
"""Shares of the memory that engines are given: drivers, libraries and graphs need the rest."""


class Shortage(StrEnum):
    """What does not fit, in the order in which an engine notices it."""

    UTILIZATION = "utilization"
    """The share of the memory that the engine is to use, beside what the driver and the process occupy."""
    WEIGHTS = "weights"
    CACHE = "cache"
    """Any KV cache."""
    CONTEXT = "context"
    """The KV cache of one request of the longest context."""
    SAMPLER = "sampler"
    """The logits of all sequences."""
    GRAPHS = "graphs"
    """CUDA graphs, and the workspace of attention beside them."""


ESTIMATED = frozenset({Shortage.UTILIZATION, Shortage.SAMPLER, Shortage.GRAPHS})
"""Shortages of parts that the shape of the model does not determine: their sizes are estimates."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of the fullest GPU, in bytes."""

    parts: Mapping[str, float]
    """``weights``, ``kv``, ``activations``, ``graphs`` and ``fixed``; ``kv`` is 0 if not even the weights fit."""
    budget: float
    """Memory for the KV cache; negative if the weights alone exceed what the engine may use."""
    free: float
    """What is left when the server is ready."""
    kv_tokens: int
    """Capacity of the KV cache, 0 if there is none."""
    shortage: Shortage | None = None
    why: str = ""
    """The reason for the shortage, in one line; empty if it fits."""
    raise_flag: str = ""
    """The flag whose value a server that does not fit need only raise; empty if that is not enough."""

    @property
    def fits(self) -> bool:
        """Whether the server would start."""
        return self.shortage is None


class MemoryRules(ABC):
    """How one engine divides the memory of a GPU."""

    engine: ClassVar[str]
    fraction_flag: ClassVar[str] = ""
    """The flag that limits the share of a GPU's memory which the engine uses; empty if there is none."""

    @abstractmethod
    def settled(self, serving: Serving, shape: ModelShape | None, gpu: GpuModel) -> Serving:
        """``serving`` with the engine's own choice for each field that was left to it, as far as it does not depend on
        an unknown shape."""

    @abstractmethod
    def use(self, replica: Replica, serving: Serving, *, estimates: bool = True) -> MemoryUse:
        """The memory of a replica with settled values.

        Args:
            replica: Model, GPU and formats.
            serving: From :meth:`settled`.
            estimates: Whether activations, graphs and the memory of the process count. Without them the result is a
                lower bound.
        """

    @abstractmethod
    def sequences(self, serving: Serving, kv_tokens: int) -> int:
        """Requests that a replica runs at a time, with settled values."""


def replica_of(shape: ModelShape, gpu: GpuModel, serving: Serving) -> Replica | None:
    """The replica that a server has; None if a format is unknown or the heads cannot be divided."""
    weights = weight_format(serving.weights, shape)
    kv = kv_element_bytes(serving.kv)
    if weights is None or kv is None or shape.heads % serving.tp or serving.tp % serving.attention_dp:
        return None
    return Replica(
        model=shape,
        gpu=gpu,
        tp=serving.tp,
        pp=serving.pp,
        ep=serving.ep,
        attention_dp=serving.attention_dp,
        weights=weights,
        kv_bytes=kv,
    )


def fits(shape: ModelShape, gpu: GpuModel, serving: Serving, rules: MemoryRules) -> MemoryUse | None:
    """The memory that a server takes by the engine's rules; None if a format is unknown."""
    replica = replica_of(shape, gpu, serving)
    return None if replica is None else rules.use(replica, rules.settled(serving, shape, gpu))


def surely_too_large(shape: ModelShape, gpu: GpuModel, serving: Serving, rules: MemoryRules) -> MemoryUse | None:
    """The memory of a server that cannot start; None if it may start.

    For a real engine only weights and KV cache count, which follow from the model's shape, on a GPU that is credited
    with :data:`MARGIN` more memory. The simulator starts by these very rules, so that they are exact for it.
    """
    found = _too_large(shape, gpu, serving, rules)
    if found is None or not rules.fraction_flag:
        return found
    higher = (fraction for fraction in _FRACTIONS if fraction > (serving.memory_fraction or 0.0))
    raised = (serving.model_copy(update={"memory_fraction": fraction}) for fraction in higher)
    enough = any((use := fits(shape, gpu, more, rules)) is not None and use.fits for more in raised)
    return replace(found, raise_flag=rules.fraction_flag) if enough else found


def _too_large(shape: ModelShape, gpu: GpuModel, serving: Serving, rules: MemoryRules) -> MemoryUse | None:
    if serving.simulated:
        found = fits(shape, gpu, serving, rules)
        return None if found is None or found.fits else found
    replica = replica_of(shape, gpu, serving)
    if replica is None:
        return None
    settled = rules.settled(serving, shape, gpu)
    # An engine may derive a shorter context than the model's from its tokenizer, and releases differ in the fraction
    # that they choose, so only what was set counts.
    judged = settled.model_copy(
        update={
            "context": 1 if serving.context is None else serving.context,
            "memory_fraction": 1.0 if serving.memory_fraction is None else serving.memory_fraction,
        }
    )
    larger = gpu.model_copy(update={"memory_gb": gpu.memory_gb * (1 + MARGIN)})
    found = rules.use(replica.model_copy(update={"gpu": larger}), judged, estimates=False)
    if found.fits or found.shortage in ESTIMATED:
        return None
    exact = rules.use(replica, judged, estimates=False)
    return found if exact.fits else exact


def gib(count: float) -> str:
    """``15.0 GiB``."""
    return f"{count / GIB:.1f} GiB"
