"""Priors: one folder per source of predictions."""
