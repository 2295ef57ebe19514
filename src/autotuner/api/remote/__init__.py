"""Studies and webhooks of a server that ``autotuner serve`` runs, for the commands of the command line."""

TOKEN_VARIABLE = "AUTOTUNER_TOKEN"  # noqa: S105 - a variable's name
"""Here, because the command line names it in its help, and must not import what sends requests for that."""
