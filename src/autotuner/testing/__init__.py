"""Conformance kits and doubles for plugin authors."""
