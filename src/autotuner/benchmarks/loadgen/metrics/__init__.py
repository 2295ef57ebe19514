"""Samples of the server's Prometheus metrics during a window, taken by a child process."""
