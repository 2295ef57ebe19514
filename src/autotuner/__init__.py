"""LLM Inference Autotuner: finds the launch parameters that make an inference server fastest, and proves it."""

__version__ = "0.1.0"
