"""LLM Inference Autotuner: finds the launch parameters that make an inference server fastest, and proves it.

``autotuner.tune(study)`` and the functions that read results back are in :mod:`autotuner.api`; they are loaded at
first use, so that the command line starts quickly.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "manifest", "plan", "read_study", "result", "studies", "tune", "tune_async"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("autotuner.api"), name)
    raise AttributeError(f"module 'autotuner' has no attribute {name!r}")
