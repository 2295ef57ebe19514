"""Former location of :mod:`autotuner.benchmarks.measuring.records`, kept for programs that read request records."""

from autotuner.benchmarks.measuring.records import read_records

__all__ = ["read_records"]
