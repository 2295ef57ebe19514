"""TensorRT-LLM: flags, launch plans, failure causes."""
