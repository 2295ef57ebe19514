"""A study followed in the browser while it runs, on the simulated engine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from autotuner.server.routes.pages import is_built
from support.web.server import Server, serving, watch

STUDY = """
name: live
model: Qwen/Qwen3-8B
engine: {kind: simulated, flavor: sglang, gpu: RTX-4090, speed: 3, args: {context-length: 4096}}
parameters: {mem-fraction-static: [0.92, 0.955]}
workload: {scenarios: "D(300,64)", concurrency: [10, 40], warmup: 500ms, duration: 1s}
benchmark: {kind: native}
objective: max output_throughput
slo: p99 ttft <= 30s
search: {strategy: grid, trials: 3}
confirm: {repeats: 1}
"""
PATIENCE_MS = 120_000


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[Server]:
    """A server whose store is empty."""
    if not is_built():
        pytest.skip("the web UI is not built (make ui)")
    with serving(tmp_path / "home") as found:
        yield found


def test_a_study_is_followed_from_start_to_end(browser: Browser, empty_server: Server, tmp_path: Path) -> None:
    messages = list[str]()
    context = browser.new_context()
    page = context.new_page()
    watch(page, empty_server, messages)
    page.goto(empty_server.sign_in)
    page.get_by_role("heading", name="No studies yet").wait_for()
    (tmp_path / "study.yaml").write_text(STUDY)
    environment = {**os.environ, "AUTOTUNER_HOME": str(empty_server.home)}
    command = [sys.executable, "-m", "autotuner", "run", str(tmp_path / "study.yaml")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            page.get_by_role("link", name="live").click(timeout=PATIENCE_MS)
            page.get_by_role("region", name="Now").get_by_text("trial 0").wait_for(timeout=PATIENCE_MS)
            trials = page.get_by_role("region", name="Trials of this study")
            trials.locator("tbody tr").nth(1).wait_for(timeout=PATIENCE_MS)
            page.get_by_text("These numbers are simulated").or_(page.locator(".simulated")).first.wait_for(
                timeout=PATIENCE_MS
            )
            page.reload()
            trials.locator("tbody tr").nth(1).wait_for(timeout=PATIENCE_MS)
            expect(page.locator("h1 + .badge")).to_have_text("done", timeout=PATIENCE_MS)
            expect(page.get_by_role("region", name="Now")).to_have_count(0)
            assert run.wait(60) in {0, 1}  # 1: on a busy machine, the repeats may prove nothing
        finally:
            run.terminate()
    page.get_by_role("region", name="Proof").wait_for()
    trials.get_by_role("link", name="1", exact=True).click()
    page.locator(".simulated").wait_for()
    assert messages == []
    context.close()
