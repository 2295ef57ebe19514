"""What ``/metrics`` shows: the store in numbers, and what this server does."""
