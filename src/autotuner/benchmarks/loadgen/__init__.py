"""The native load generator: a worker process of its own, so that nothing else spoils its clock.

The worker takes its spec (a :class:`~autotuner.benchmarks.loadgen.spec.WorkerSpec`) on stdin and answers in JSON lines
on stdout. It imports neither pydantic nor numpy: starting it is part of every window's cost.
"""
