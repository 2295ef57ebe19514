"""The native load generator: a separate worker process, so that no other work disturbs its timing.

The worker reads its spec (a :class:`~autotuner.benchmarks.loadgen.spec.WorkerSpec`) from stdin and writes JSON lines to
stdout. It imports neither pydantic nor numpy, because every window pays for its start.
"""
