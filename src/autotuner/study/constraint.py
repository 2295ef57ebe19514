"""Bounds between parameters, in a small expression language that is parsed here and never evaluated as Python."""
