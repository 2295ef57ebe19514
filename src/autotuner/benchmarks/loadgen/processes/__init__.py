"""Several processes that send the load of one window, and how late they are."""
