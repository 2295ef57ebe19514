"""The commands about the capacity of a running server."""
