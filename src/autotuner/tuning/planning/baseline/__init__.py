"""The baseline that a study states, before anything is launched."""
