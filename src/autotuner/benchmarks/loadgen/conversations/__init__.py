"""Users who hold conversations: several turns, with time to think between them."""
