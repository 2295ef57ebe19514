"""Failures, readiness probes, log tails and leftovers, the same for all deployers."""
