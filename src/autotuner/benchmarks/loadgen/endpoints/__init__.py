"""Requests to endpoints other than text generation."""
