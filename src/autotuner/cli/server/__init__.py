"""Commands of the server: serve, and the tokens of its clients."""
