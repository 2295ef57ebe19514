"""Highest load that a server can take within its SLOs: sequential tests, the choice of levels, and the certificate.

Pure: no I/O, no clock. The load generator decides with it when a level is finished, the benchmark which level comes
next, and ``autotuner verify`` whether the stored records support the answer. ``level`` and what it imports must stay
light, because the load generator's process starts often: no pydantic, no numpy.
"""
