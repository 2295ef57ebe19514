"""Capacity of a live server: the run through its levels, and the replay of their tests from records."""
