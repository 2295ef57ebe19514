"""Pods as text: what a study says about its pods, and the fields that follow from it.

Pure: no I/O and no vendor library, so that deployers and exports build the same pod from the same settings.
"""
