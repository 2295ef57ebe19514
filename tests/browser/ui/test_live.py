"""A study followed in the browser while it runs, on the simulated engine."""

import json
import os
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from support.web.server import Server, watch

# The baseline serves so few requests at a time that the others are better on any machine, and there is a proof.
STUDY = f"""
name: live
model: Qwen/Qwen3-8B
engine: {{kind: simulated, flavor: sglang, gpu: RTX-4090, speed: 3, args: {{context-length: 4096}}}}
baseline: {{max-running-requests: 4}}
parameters: {{max-running-requests: [16, 32]}}
workload: {json.dumps({**calm_workload("D(100,16)", requests=24), "concurrency": [10, 32]})}
benchmark: {json.dumps(CALM_BENCHMARK)}
objective: max output_throughput
slo: p99 ttft <= 30s
search: {{strategy: grid, trials: 3}}
confirm: {{repeats: 1}}
"""
PATIENCE_MS = 120_000


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
    look_at_latencies(page)
    configuration = page.get_by_role("region", name="Configuration")
    expect(configuration).to_contain_text("SettingBaselineThis trial--max-running-requests416")
    page.go_back()
    trials.get_by_role("link", name="0", exact=True).click()
    expect(configuration).to_contain_text("the study's baselineSettingThis trialmax-running-requests4")
    assert messages == []
    context.close()


def look_at_latencies(page: Page) -> None:
    """The distributions that a real run recorded: percentiles on their curves, and what the server reported."""
    latencies = page.get_by_role("region", name="Latencies", exact=True)
    latencies.locator(".percentile").first.wait_for()
    expect(latencies.locator(".cdf")).to_have_count(6)  # TTFT, TPOT and E2E latency of this trial and of the default
    assert latencies.get_by_text("other figures than those").count() == 0
    marks = latencies.locator("figure").first.locator(".percentile")
    for i in range(marks.count()):
        circle = marks.nth(i).locator("circle")
        place = f"{circle.get_attribute('cx')} {circle.get_attribute('cy')}".split()
        on_curve = page.evaluate(
            """([x, y]) => {
              const path = document.querySelector(".latencies .cdf.best");
              const length = path.getTotalLength();
              return Math.min(...Array.from({ length: 4000 }, (_, i) => {
                const p = path.getPointAtLength((i / 3999) * length);
                return Math.hypot(p.x - x, p.y - y);
              }));
            }""",
            [float(part) for part in place],
        )
        assert on_curve < 1
    latencies.get_by_role("combobox").select_option("measurements.1")
    page.wait_for_url("**window=measurements.1*")
    expect(latencies.locator(".cdf")).to_have_count(6)
    over_time = page.get_by_role("region", name="Over time")
    over_time.get_by_role("img", name="Requests in the server").wait_for()
    assert over_time.locator("rect.phase.measure").count() > 1
