"""Fixtures for unit tests."""

from support.loop import store

__all__ = ["store"]
