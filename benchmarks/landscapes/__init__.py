"""Tables of measured configurations, and search strategies that are compared on them."""
