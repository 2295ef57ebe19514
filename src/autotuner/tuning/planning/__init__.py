"""Everything that is decided before the first launch: checks, plan, and how a stored study compares."""
