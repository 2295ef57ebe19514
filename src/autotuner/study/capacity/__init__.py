"""Capacity under SLOs: how a level is tested, and what was found."""
