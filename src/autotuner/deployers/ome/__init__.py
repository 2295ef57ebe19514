"""The OME deployer: one InferenceService per trial, and BenchmarkJobs."""
