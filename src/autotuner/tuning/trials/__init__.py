"""Trials: leases, launch, measurement, and what a failure means for the study."""
