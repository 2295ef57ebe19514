"""Presets: named beginnings of studies."""
