"""Hatchling's build hook for the web UI: a wheel or source archive without it would be incomplete."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGES = (Path("src/autotuner/server/static/index.html"), Path("src/autotuner/report/documents/static/report.html"))


class WebUi(BuildHookInterface):
    """Refuses to build an archive before ``make ui``. An editable installation finds the UI once it is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs before the build."""
        missing = [page for page in PAGES if not (Path(self.root) / page).is_file()]
        if version != "editable" and missing:
            raise SystemExit(f"{missing[0]} is missing: build the web UI first (make ui)")
        build_data["artifacts"] += [f"/{page.parent}/" for page in PAGES]
