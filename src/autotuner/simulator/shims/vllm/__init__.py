"""Not vLLM: the simulator under its name."""

from autotuner.simulator.vllm.start import VERSION

__version__ = f"{VERSION}+simulated"
