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
    link_bandwidth: float = Field(gt=0)
    """Bytes/s to other GPUs of the node, in one direction."""
    link_latency_s: float
    """Latency of a small all-reduce, in seconds. Assumed: 8 us over NVLink, 25 us over PCIe."""
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
) -> GpuModel:
    return GpuModel(
        name=name,
        device=device,
        memory_gb=memory_gb,
        bandwidth=tb_s * 1e12,
        bf16_flops=bf16 * 1e12,
        fp8_flops=None if fp8 is None else fp8 * 1e12,
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
        _gpu("B200", "NVIDIA B200", 178.3, 8.0, 2250, 4500, 900, 100, "NVIDIA DGX B200 data sheet, one of eight"),
        _gpu("L4", "NVIDIA L4", 22.0, 0.3, 121, 242.5, 32, 89, "NVIDIA L4 data sheet, half of the sparse peaks"),
        _gpu("L40S", "NVIDIA L40S", 44.5, 0.864, 362, 733, 32, 89, "NVIDIA L40S data sheet"),
        _gpu("A10G", "NVIDIA A10G", 22.1, 0.6, 70, None, 32, 86, "NVIDIA A10G data sheet"),
        _gpu("RTX-4090", "NVIDIA GeForce RTX 4090", 23.6, 1.008, 165.2, 330.3, 32, 89, "NVIDIA Ada white paper"),
    )
}
_ALIASES = {"A100": "A100-80GB", "H100-SXM": "H100", "H100-80GB": "H100", "RTX4090": "RTX-4090", "4090": "RTX-4090"}


def gpu_named(name: str) -> GpuModel:
    """Looks up a GPU, ignoring case. Raises ``UsageError`` that suggests the closest known name."""
    wanted = name.strip().upper().replace(" ", "-").replace("_", "-")
    names = {known.upper(): known for known in GPUS} | _ALIASES
    if wanted not in names:
        raise UsageError(Problem(where="gpu", value=name, why="unknown GPU", remedy=did_you_mean(name, list(GPUS))))
    return GPUS[names[wanted]]
