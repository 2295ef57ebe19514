"""Which trials end before all of their levels are measured, and what that saves."""
