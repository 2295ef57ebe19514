"""The command line: commands, tables and the live view."""
