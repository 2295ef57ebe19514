"""Starter studies: what is tuned, for this machine and for a goal."""
