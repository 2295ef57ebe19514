"""Specifications of GPUs. Peaks are dense (not sparse), from NVIDIA data sheets; memory is what CUDA reports."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.study.base import FrozenModel


class GpuModel(FrozenModel):
    """Specification of a GPU model."""

    name: str
    device: str
    """Name reported by the driver."""
    memory_gb: float = Field(gt=0)
    """GiB as in ``torch.cuda.get_device_properties(0).total_memory``, less than the nominal size."""
    bandwidth: float = Field(gt=0)
    """Memory bandwidth in bytes/s."""
    bf16_flops: float = Field(gt=0)
    """FLOP/s of dense bf16 matrix products with fp32 accumulation."""
    fp8_flops: float | None = None
    """FLOP/s of dense fp8 matrix products; None if the tensor cores do not support fp8."""
    fp4_flops: float | None = None
    """FLOP/s of dense fp4 matrix products; None if the tensor cores do not support fp4."""
    link_bandwidth: float = Field(gt=0)
    """Bytes/s to other GPUs of the node, in one direction."""
    link_latency_s: float
    """Latency of a small all-reduce, in seconds. Assumed: 8 us over NVLink, 25 us over PCIe."""
    node: int = 8
    """GPUs that are linked at ``link_bandwidth``: those of one node, or of one rack of GB200 and GB300."""
    capability: int
    """CUDA compute capability times ten, as engines compare it."""
    source: str
    """Where the figures come from."""

    @property
    def fp8(self) -> bool:
        """Whether the tensor cores support fp8."""
        return self.fp8_flops is not None


_NVLINK_S = 8e-6
_PCIE_S = 25e-6


def _gpu(
    name: str,
    device: str,
    memory_gb: float,
    tb_s: float,
    bf16: float,
    fp8: float | None,
    link_gb_s: float,
    capability: int,
    source: str,
    fp4: float | None = None,
    node: int = 8,
) -> GpuModel:
    return GpuModel(
        name=name,
        device=device,
        memory_gb=memory_gb,
        bandwidth=tb_s * 1e12,
        bf16_flops=bf16 * 1e12,
        fp8_flops=None if fp8 is None else fp8 * 1e12,
        fp4_flops=None if fp4 is None else fp4 * 1e12,
        node=node,
        link_bandwidth=link_gb_s * 1e9,
        link_latency_s=_NVLINK_S if link_gb_s > 64 else _PCIE_S,
        capability=capability,
        source=source,
    )


GPUS: Mapping[str, GpuModel] = {
    g.name: g
    for g in (
        _gpu("A100-40GB", "NVIDIA A100-SXM4-40GB", 39.4, 1.555, 312, None, 300, 80, "NVIDIA A100 data sheet"),
        _gpu("A100-80GB", "NVIDIA A100-SXM4-80GB", 79.2, 2.039, 312, None, 300, 80, "NVIDIA A100 data sheet"),
        _gpu("H100", "NVIDIA H100 80GB HBM3", 79.1, 3.35, 989.4, 1978.9, 450, 90, "NVIDIA H100 data sheet, SXM5"),
        _gpu("H100-PCIe", "NVIDIA H100 PCIe", 79.1, 2.0, 756, 1513, 64, 90, "NVIDIA H100 data sheet, PCIe"),
        _gpu("H200", "NVIDIA H200", 139.8, 4.8, 989.4, 1978.9, 450, 90, "NVIDIA H200 data sheet, SXM"),
        _gpu("H100-NVL", "NVIDIA H100 NVL", 93.1, 3.9, 835, 1671, 300, 90, "NVIDIA H100 data sheet, NVL", node=2),
        _gpu("H20", "NVIDIA H20", 95.1, 4.0, 148, 296, 450, 90, "NVIDIA H20 data sheet"),
        _gpu("B200", "NVIDIA B200", 178.3, 8.0, 2250, 4500, 900, 100, "NVIDIA DGX B200 data sheet, one of eight", 9000),
        _gpu("B300", "NVIDIA B300 SXM6 AC", 267.7, 8.0, 2250, 4500, 900, 103,
             "NVIDIA DGX B300 data sheet, one of eight", 13500),
        _gpu("GB200", "NVIDIA GB200", 184.3, 8.0, 2500, 5000, 900, 100,
             "NVIDIA GB200 NVL72 data sheet, one of 72", 10000, node=72),
        _gpu("GB300", "NVIDIA GB300", 276.8, 8.0, 2500, 5000, 900, 103,
             "NVIDIA GB300 NVL72 data sheet, one of 72", 15000, node=72),
        _gpu("A30", "NVIDIA A30", 23.5, 0.933, 165, None, 32, 80, "NVIDIA A30 data sheet"),
        _gpu("A10", "NVIDIA A10", 22.1, 0.6, 125, None, 32, 86, "NVIDIA A10 data sheet"),
        _gpu("A40", "NVIDIA A40", 44.3, 0.696, 149.7, None, 32, 86, "NVIDIA A40 data sheet"),
        _gpu("L4", "NVIDIA L4", 22.0, 0.3, 121, 242.5, 32, 89, "NVIDIA L4 data sheet, half of the sparse peaks"),
        _gpu("L40S", "NVIDIA L40S", 44.5, 0.864, 362, 733, 32, 89, "NVIDIA L40S data sheet"),
        _gpu("A10G", "NVIDIA A10G", 22.1, 0.6, 70, None, 32, 86, "NVIDIA A10G data sheet"),
        _gpu("RTX-6000-Ada", "NVIDIA RTX 6000 Ada Generation", 47.4, 0.96, 364.2, 728.5, 32, 89,
             "NVIDIA RTX 6000 Ada data sheet"),
        _gpu("RTX-3090", "NVIDIA GeForce RTX 3090", 23.6, 0.936, 71, None, 32, 86, "NVIDIA Ampere GA102 white paper"),
        _gpu("RTX-5090", "NVIDIA GeForce RTX 5090", 31.4, 1.792, 209.5, 419, 64, 120,
             "NVIDIA RTX Blackwell white paper", 1676),
        _gpu("RTX-4090", "NVIDIA GeForce RTX 4090", 23.6, 1.008, 165.2, 330.3, 32, 89, "NVIDIA Ada white paper"),
    )
}  # fmt: skip
_ALIASES = {"A100": "A100-80GB", "H100-SXM": "H100", "H100-80GB": "H100", "RTX4090": "RTX-4090", "4090": "RTX-4090"}
_NAMES = {name.upper(): name for name in GPUS} | _ALIASES


def gpu_named(name: str) -> GpuModel:
    """Looks up a GPU, ignoring case. Raises ``UsageError`` that suggests the closest known name."""
    wanted = name.strip().upper().replace(" ", "-").replace("_", "-")
    if wanted not in _NAMES:
        raise UsageError(Problem(where="gpu", value=name, why="unknown GPU", remedy=did_you_mean(name, list(GPUS))))
    return GPUS[_NAMES[wanted]]


def gpu_of_device(name: str, memory_gb: float = 0.0) -> GpuModel | None:
    """The GPU by the name that its driver or a node's label reports (``NVIDIA-H100-80GB-HBM3``).

    Args:
        name: The reported name.
        memory_gb: The reported memory in GiB, since some boards of the same name have more; 0 if it is not known.

    Returns:
        None for a GPU that is not listed, and for a slice of one (MIG), whose share is not known.
    """
    plain = _plain(name)
    for gpu in GPUS.values():
        if plain in (_plain(gpu.device), _plain(gpu.name), f"nvidia {_plain(gpu.name)}"):
            return gpu.replaced(memory_gb=max(gpu.memory_gb, memory_gb))
    return None


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())
