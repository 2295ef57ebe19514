"""Short text forms of a study file and of the command line."""
