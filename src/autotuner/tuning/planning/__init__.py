"""Planning: checks, the plan, and the comparison with a stored study, all before the first launch."""
