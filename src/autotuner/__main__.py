"""``python -m autotuner`` is the same as ``autotuner``."""

from autotuner.cli.main import main

main()
