"""Analytic prediction of memory and speed: what fits on a GPU, and how fast it should be. Pure functions."""
