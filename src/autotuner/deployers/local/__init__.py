"""This machine: processes, ports, GPUs, and the supervision of what was started on it."""
