"""Asks a server for greedy answers with log-probabilities, to compare them with another server's."""
