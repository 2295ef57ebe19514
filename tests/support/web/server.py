"""A server with the web UI as a process, and what tests of its pages share."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page

ROOT = Path(__file__).parents[3]
AXE = ROOT / "ui" / "node_modules" / "axe-core" / "axe.min.js"


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    sign_in: str
    """The address that it printed; signs in once."""
    home: Path


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """``autotuner serve`` over the store of a data directory; it must not print a traceback."""
    environment = {**os.environ, "AUTOTUNER_HOME": str(home)}
    command = [sys.executable, "-m", "autotuner", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            url = process.stderr.readline().split()[1].removesuffix("/api/v1")
            sign_in = process.stderr.readline().split()[2]
            yield Server(url, sign_in, home)
        finally:
            process.terminate()
            printed = process.stderr.read()
            assert "Traceback" not in printed, printed


def watch(page: Page, server: Server, messages: list[str]) -> None:
    """Collects what a page must not do: errors in the console, and requests to other servers."""

    def on_console(message: ConsoleMessage) -> None:
        # Other tests add and remove network interfaces, which makes Chromium drop requests; pages send them again.
        if message.type in {"error", "warning"} and "ERR_NETWORK_CHANGED" not in message.text:
            messages.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((server.url, "blob:")) else messages.append(r.url))


def violations(page: Page) -> Mapping[str, list[str]]:
    """What axe finds wrong with a page, by rule: the elements."""
    page.evaluate(AXE.read_text())
    found: dict[str, list[str]] = page.evaluate(
        """async () => {
          const { violations } = await axe.run(document, { resultTypes: ["violations"] });
          return Object.fromEntries(violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 160))]));
        }"""
    )
    return found
