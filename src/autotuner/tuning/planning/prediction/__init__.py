"""What is known of the servers of a study before any of them is launched."""
