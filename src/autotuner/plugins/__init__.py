"""The interfaces that plugins implement, and the one place that loads them."""
