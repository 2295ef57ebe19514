"""The winner as a manifest for Kubernetes, OME or Docker Compose."""
