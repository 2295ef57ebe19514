"""Fixtures for tests of what studies learn from one another."""

from support.loop import loop

__all__ = ["loop"]
