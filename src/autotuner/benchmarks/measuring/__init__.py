"""Evaluation of request records: populations, statistics, steadiness and uncertainty of a measurement."""
