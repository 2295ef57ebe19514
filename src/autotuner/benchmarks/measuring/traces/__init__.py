"""Recorded traces: formats, the part that is replayed, and the replay of one window."""
