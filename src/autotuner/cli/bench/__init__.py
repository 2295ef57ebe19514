"""The command that measures a running server without a study."""
