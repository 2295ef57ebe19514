"""Revisions, one file each, named in order."""
