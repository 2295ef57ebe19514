"""Servers in aiconfigurator's own terms."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from autotuner.study.search.serving import Serving

_SYSTEMS: Mapping[str, str] = {
    "A100-80GB": "a100_sxm",
    "A30": "a30",
    "B200": "b200_sxm",
    "B300": "b300_sxm",
    "GB200": "gb200",
    "GB300": "gb300",
    "H100": "h100_sxm",
    "H100-PCIe": "h100_pcie",
    "H200": "h200_sxm",
    "L4": "l4",
    "L40S": "l40s",
}
"""Its names of GPUs."""
_ENGINES = frozenset({"sglang", "vllm"})
OPEN = ""
"""A format that is not set: that of the checkpoint, or the engine's choice."""
_WEIGHTS: Mapping[str, str] = {
    "": OPEN,
    **dict.fromkeys(("fp8", "w8a8_fp8", "modelopt_fp8", "fp8_per_tensor"), "fp8"),
    **dict.fromkeys(("modelopt_fp4", "nvfp4_online"), "nvfp4"),
}
"""Its names of weight formats by those of the engines."""
_KV: Mapping[str, str] = {
    "auto": OPEN,
    **dict.fromkeys(("bf16", "bfloat16"), "bfloat16"),
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2"), "fp8"),
}


class Checkpoint(NamedTuple):
    """What step times depend on in a model's checkpoint."""

    experts: bool = False
    weights: str = OPEN
    """Format of the weights; empty if they are not quantized."""
    kv: str = OPEN
    """Format of the KV cache; empty if the checkpoint leaves it open."""


class Server(NamedTuple):
    """Everything that step times depend on besides the load."""

    model: str
    system: str
    backend: str
    tp: int
    """GPUs that share the attention of one request."""
    pp: int
    groups: int
    """Groups of GPUs that compute the attention of different requests."""
    ep: int
    weights: str
    kv: str

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of its functions."""
        return {
            "tp_size": self.tp,
            "pp_size": self.pp,
            "attention_dp_size": self.groups,
            "moe_tp_size": self.tp * self.groups // self.ep,
            "moe_ep_size": self.ep,
            "gemm_quant_mode": self.weights or None,
            "moe_quant_mode": self.weights or None,
        }


def described(gpu: str, serving: Serving) -> bool:
    """Whether there may be tables for a GPU and a server, whatever the model is."""
    # They were measured with CUDA graphs.
    known = serving.engine in _ENGINES and gpu in _SYSTEMS and serving.graphs
    return known and serving.weights in _WEIGHTS and (serving.kv or "auto") in _KV


def server_of(model: str, checkpoint: Checkpoint, gpu: str, serving: Serving) -> Server | None:
    """A server that is :func:`described`; None if it does not know this way to divide the model."""
    weights = _WEIGHTS[serving.weights]
    # The experts of vLLM's replicas form one group, whose members compute the attention of different requests.
    replicas = serving.dp if checkpoint.experts and serving.engine == "vllm" else 1
    ep = serving.ep if checkpoint.experts else 1
    if serving.tp % serving.attention_dp or serving.tp * replicas % ep:
        return None
    if serving.attention_dp > 1 and not checkpoint.experts:
        return None
    return Server(
        model=model,
        system=_SYSTEMS[gpu],
        backend=serving.engine,
        tp=serving.tp // serving.attention_dp,
        pp=serving.pp,
        groups=serving.attention_dp * replicas,
        ep=ep,
        weights=OPEN if checkpoint.weights.startswith(weights) else weights,
        kv=_KV[serving.kv or "auto"],
    )
