"""The simulation of vLLM."""
