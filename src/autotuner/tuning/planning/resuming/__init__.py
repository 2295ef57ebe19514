"""What an edited study file changes about a stored study."""
