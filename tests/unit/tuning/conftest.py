"""Fixtures for tests of the loop."""

from support.loop import another_loop, loop

__all__ = ["another_loop", "loop"]
