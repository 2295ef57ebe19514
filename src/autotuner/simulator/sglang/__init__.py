"""SGLang as the simulator imitates it."""
