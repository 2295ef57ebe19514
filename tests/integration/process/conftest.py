"""Fixtures for tests of the loop on real processes."""

from support.loop import another_loop, loop, store

__all__ = ["another_loop", "loop", "store"]
