"""The seams between the rooms: abstract classes that plugins implement, and the one place that loads them."""
