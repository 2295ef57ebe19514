"""The Kubernetes deployer: one Job per trial, and everything about pods that OME shares."""

EXTRA = "kubernetes"
"""The optional dependency that must be installed."""
