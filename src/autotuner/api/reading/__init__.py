"""Stored studies for programs that read them again and again, such as the server."""
