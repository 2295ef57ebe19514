"""The winner as a manifest: Kubernetes, OME, Docker Compose."""
