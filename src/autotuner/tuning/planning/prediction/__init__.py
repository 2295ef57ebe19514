"""What is known about the servers of a study before any of them is launched."""
