"""Manifests: a study's settings for containers and pods, and the objects that follow from them.

Pure: no I/O and no vendor library, so that deployers and exports build the same pod from the same settings.
"""
