"""The older task JSON, read as a dialect of the study file."""
