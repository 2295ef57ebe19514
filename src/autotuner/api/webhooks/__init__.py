"""Webhooks: adding and listing them, and the delivery of their messages."""
