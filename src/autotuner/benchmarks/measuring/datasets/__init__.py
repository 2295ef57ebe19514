"""Rows of dataset files: reading, drawing without repetition, and the supply of one server."""
