"""What a search knows of a configuration before it is launched."""
