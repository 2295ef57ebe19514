"""HTTP access to servers: targets, proxies, TLS trust, clients, and what a failed exchange means."""
