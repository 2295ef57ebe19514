"""The simulation of SGLang."""
