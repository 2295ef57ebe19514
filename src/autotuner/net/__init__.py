"""HTTP access to servers: targets, proxies, TLS trust, clients, and the diagnosis of failed exchanges."""
