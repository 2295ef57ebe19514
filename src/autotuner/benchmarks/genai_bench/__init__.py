"""Benchmark with genai-bench: runs it near the endpoint and converts its log or result files into request records."""
