"""Benchmarks: the native load generator, genai-bench and OME BenchmarkJobs."""
