"""genai-bench as a benchmark: run near the endpoint, its log and files read into request records."""
