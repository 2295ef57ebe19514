"""Not SGLang: the simulator under its name."""

from autotuner.simulator.sglang.start import VERSION

__version__ = f"{VERSION}+simulated"
