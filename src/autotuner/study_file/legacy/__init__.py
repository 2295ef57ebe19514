"""Reader of the older tool's task JSON."""
