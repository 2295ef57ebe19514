"""The load generator as a Job inside the cluster."""
