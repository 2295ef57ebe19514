"""Fixtures for unit tests."""

from support.coverage_budget import pytest_runtest_call
from support.loop import store

__all__ = ["pytest_runtest_call", "store"]
