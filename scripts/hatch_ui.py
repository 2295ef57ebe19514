"""Hatchling's build hook for the web UI: a wheel or source archive without it would be incomplete."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("src/autotuner/server/static/index.html")


class WebUi(BuildHookInterface):
    """Refuses to build an archive before ``make ui``. An editable installation finds the UI once it is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs before the build."""
        if version != "editable" and not (Path(self.root) / PAGE).is_file():
            raise SystemExit(f"{PAGE} is missing: build the web UI first (make ui)")
        build_data["artifacts"].append("/src/autotuner/server/static/")
