"""Tuned parameters, the space they span, and constraints between them."""
