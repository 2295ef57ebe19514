"""The Docker deployer: one container per trial."""

EXTRA = "docker"
"""The optional dependency that must be installed."""
