"""One trial: leases, launch, measurement, and what its failure means."""
