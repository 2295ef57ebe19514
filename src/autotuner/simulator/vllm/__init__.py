"""vLLM as the simulator imitates it."""
