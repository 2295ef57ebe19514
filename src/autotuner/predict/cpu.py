"""A CPU described as a GPU, for servers that compute on CPUs."""

from autotuner.predict.gpus import GpuModel

_CORE_BANDWIDTH = 10e9
_MOST_BANDWIDTH = 200e9
"""Bytes/s that one core and one socket read. Assumed values: DDR4 and DDR5 servers have 100 to 300 GB/s."""
_CORE_FLOPS = 60e9
"""FLOP/s of one core in quantized products with 256-bit vectors. Assumed value."""


def cpu_of(threads: int | None, cores: int, memory_gb: float) -> GpuModel:
    """The CPU of a server.

    Args:
        threads: Threads that compute; None: one per core. More threads than cores gain nothing.
        cores: Cores of the machine.
        memory_gb: Memory of the machine in GiB.
    """
    used = min(threads or cores, cores)
    return GpuModel(
        name=f"{used} cores",
        device="CPU",
        memory_gb=max(memory_gb, 1.0),
        bandwidth=min(used * _CORE_BANDWIDTH, _MOST_BANDWIDTH),
        bf16_flops=used * _CORE_FLOPS,
        link_bandwidth=_MOST_BANDWIDTH,
        link_latency_s=0.0,
        capability=0,
        source="assumed",
    )
