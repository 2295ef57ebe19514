"""Search strategies: one module per algorithm."""
