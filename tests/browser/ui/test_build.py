"""What a browser loads before it shows anything."""

import gzip
import re

import pytest

from autotuner.server.routes import pages

MOST_BYTES = 300 * 1024


def test_the_first_page_loads_little_and_nothing_inline() -> None:
    if not pages.is_built():
        pytest.skip("the web UI is not built (make ui)")
    html = (pages.FOLDER / "index.html").read_text()
    scripts = re.findall(r'(?:src|href)="/(assets/[^"]+\.js)"', html)
    assert scripts
    assert sum(len(gzip.compress((pages.FOLDER / name).read_bytes())) for name in scripts) <= MOST_BYTES
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\bstyle=|https?:", html) == []
