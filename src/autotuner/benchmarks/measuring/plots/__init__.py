"""What pages draw from the files of a window: latencies of all requests, and the metrics of the server over time."""
