"""HTTP side of the load generator: connections, requests, streams of events, proxies."""
