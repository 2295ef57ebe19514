"""vLLM: flags, launch plans, failure causes."""
