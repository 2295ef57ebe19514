"""The OME deployer: one InferenceService per trial, and BenchmarkJobs."""

EXTRA = "kubernetes"
"""The optional dependency that must be installed."""
