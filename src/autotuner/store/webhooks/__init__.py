"""Webhooks, and the outbox of messages that wait to be delivered to them."""
