"""Studies on a server that ``autotuner serve`` runs, for the commands of the command line."""
