"""Studies in a queue, and the workers that run them."""
