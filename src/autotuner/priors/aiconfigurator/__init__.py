"""NVIDIA's aiconfigurator: step times from tables of measured operators."""

EXTRA = "aiconfigurator"
"""The optional dependency that must be installed."""
