"""Several processes that send the load of one window."""
