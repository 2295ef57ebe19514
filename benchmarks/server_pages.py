"""Benchmark of the web UI in a browser over a large store, and of optuna-dashboard over as many trials beside it.

    python benchmarks/server_pages.py [--trials 50000] [--largest 1000] [--optuna PYTHON]

Both show the same number of studies and trials. For each page it prints the time from the start of the navigation to
the frame that shows its content (the first row of a table, the marks of a plot), when a browser opens the page for the
first time and later; and for the brush of a plot the time from a move of the pointer to the frame that shows it.
``--optuna`` names the Python of an environment that has optuna-dashboard: ``python -m venv ~/optuna`` and
``~/optuna/bin/pip install optuna-dashboard``. Its store is SQLite, too: a first study is written by Optuna, the others
are copies of its rows. Needs Chromium and a quiet machine.
"""

import argparse
import json
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from autotuner.store import Store
from server import USUAL, Server, figures, fill, serving

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 300_000
SEEN = """
(() => {
  const wanted = WANTED;
  window.seen = {};
  const look = () => {
    for (const [name, selector] of Object.entries(wanted))
      if (!(name in window.seen) && document.querySelector(selector)) {
        window.seen[name] = performance.now();
        requestAnimationFrame(() => setTimeout(() => { window.seen[name] = performance.now(); }));
      }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()
"""
"""Milliseconds from the start of the navigation to the frame after the one in which a selector first matched."""
MOVES = """
() => {
  window.moves = [];
  addEventListener("pointermove", (event) => {
    requestAnimationFrame(() => {
      const painted = new MessageChannel();
      painted.port1.onmessage = () => window.moves.push(performance.now() - event.timeStamp);
      painted.port2.postMessage(0);
    });
  }, true);
}
"""
"""Milliseconds from each move of the pointer to the end of the frame that shows it."""


def opened(context: BrowserContext, url: str, wanted: Mapping[str, str]) -> tuple[Page, dict[str, float]]:
    """A page, and seconds to what is wanted of it, by name; ``wanted`` has selectors."""
    page = context.new_page()
    page.add_init_script(SEEN.replace("WANTED", json.dumps(wanted)))
    page.goto(url, timeout=PATIENCE_MS)
    page.wait_for_function(f"() => Object.keys(window.seen).length === {len(wanted)}", timeout=PATIENCE_MS)
    page.wait_for_timeout(200)
    found: dict[str, float] = page.evaluate("() => window.seen")
    return page, {name: ms / 1000 for name, ms in found.items()}


def show(title: str, context: BrowserContext, url: str, wanted: Mapping[str, str], times: int) -> None:
    """Prints the first view, and the median of the later ones."""
    views = []
    for _ in range(times + 1):
        page, found = opened(context, url, wanted)
        page.close()
        views.append(found)
    first, *later = views
    for name in wanted:
        print(
            f"{title + ', ' + name:<58} first {1000 * first[name]:7.0f} ms, later"
            f" {1000 * statistics.median(view[name] for view in later):7.0f} ms",
            flush=True,
        )


def brush(context: BrowserContext, url: str) -> None:
    """Prints how long moves of the brush take on the history of a study."""
    page = context.new_page()
    page.goto(url, timeout=PATIENCE_MS)
    plot = page.get_by_role("region", name="History").locator("svg.plot")
    plot.scroll_into_view_if_needed(timeout=PATIENCE_MS)
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 6)
    page.mouse.down()
    page.evaluate(MOVES)
    for step in range(60):
        page.mouse.move(box["x"] + box["width"] * (0.3 + step / 100), box["y"] + box["height"] * (0.1 + step / 100))
    page.mouse.up()
    page.wait_for_timeout(500)
    taken = [ms / 1000 for ms in page.evaluate("() => window.moves")]
    page.close()
    assert len(taken) >= 10, taken
    print(f"{'brush over the history of the largest study':<58} {figures(taken)}, {len(taken)} moves", flush=True)


def measure_ours(browser: Browser, server: Server, largest: str, times: int) -> None:
    """Prints the figures of the web UI."""
    context = browser.new_context(extra_http_headers={"Authorization": f"Bearer {server.secret}"})
    show("list of studies", context, f"{server.url}/studies", {"first row": "main tbody tr"}, times)
    page = f"{server.url}/studies/{largest}"
    wanted = {"first row": "main tbody tr", "first plot": "main svg.plot path.mark"}
    show("page of the largest study", context, page, wanted, times)
    brush(context, page)
    context.close()


WRITE = """
import optuna, sys
from optuna.distributions import CategoricalDistribution, IntDistribution
optuna.logging.set_verbosity(optuna.logging.ERROR)
axes = {"threads": IntDistribution(1, 64), "batch": IntDistribution(1, 512)}
axes["attention"] = CategoricalDistribution(["on", "off"])
study = optuna.create_study(storage=sys.argv[1], study_name="first", direction="maximize")
for i in range(int(sys.argv[2])):
    values = {"threads": i % 64 + 1, "batch": i * 7 % 512 + 1, "attention": ["on", "off"][i % 2]}
    study.add_trial(optuna.trial.create_trial(params=values, distributions=axes, value=100.0 + i * 37 % 101))
"""


def fill_optuna(python: str, database: Path, trials: int, largest: int) -> None:
    """Studies of the same sizes as :func:`server.fill`; one of them is written by Optuna, its rows are copied."""
    subprocess.run([python, "-c", WRITE, f"sqlite:///{database}", str(USUAL)], check=True)
    with sqlite3.connect(database) as db:
        copies = [1 + i // (largest // USUAL) for i in range(largest // USUAL)]  # all in the first study
        copies += range(2, 2 + max(0, trials - largest) // USUAL)
        for number, study in enumerate(copies[1:], 1):
            if study > 1:
                db.execute("INSERT INTO studies VALUES (?, ?)", (study, f"chat-{study:04d}"))
                db.execute("INSERT INTO study_directions VALUES (?, 'MAXIMIZE', ?, 0)", (study, study))
            shift = number * USUAL
            first = shift if study == 1 else 0
            db.execute(
                "INSERT INTO trials SELECT trial_id + ?, number + ?, ?, state, datetime_start, datetime_complete"
                " FROM trials WHERE trial_id <= ?",
                (shift, first, study, USUAL),
            )
            db.execute(
                "INSERT INTO trial_params SELECT param_id + ?, trial_id + ?, param_name, param_value, distribution_json"
                " FROM trial_params WHERE trial_id <= ?",
                (3 * shift, shift, USUAL),
            )
            db.execute(
                "INSERT INTO trial_values SELECT trial_value_id + ?, trial_id + ?, objective, value, value_type"
                " FROM trial_values WHERE trial_id <= ?",
                (shift, shift, USUAL),
            )


@contextmanager
def dashboard(python: str, database: Path) -> Iterator[str]:
    """The address of a running optuna-dashboard."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(python).parent / "optuna-dashboard"
    command = [str(program), f"sqlite:///{database}", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}/dashboard/"
            wait(url, process)
            yield url
        finally:
            process.terminate()


def wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Until a page answers."""
    while True:
        assert process.poll() is None, "the server ended"
        try:
            httpx.get(url, trust_env=False, timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return


def measure_dashboard(browser: Browser, url: str, times: int) -> None:
    """Prints the figures of optuna-dashboard."""
    context = browser.new_context()
    show("optuna-dashboard: list of studies", context, url, {"first study": ".MuiCardContent-root"}, times)
    show(
        "optuna-dashboard: largest study", context, f"{url}studies/1", {"first plot": ".js-plotly-plot .points"}, times
    )
    listed = {"first trial": "main li"}
    show("optuna-dashboard: trials of the largest study", context, f"{url}studies/1/trials", listed, times)
    context.close()


def compare(home: Path, given: argparse.Namespace) -> None:
    """Fills both stores and prints all figures."""
    os.environ["AUTOTUNER_HOME"] = str(home)
    os.environ.pop("AUTOTUNER_STORE", None)
    program = next(found for name in PROGRAMS if (found := shutil.which(name)))
    with Store.open() as store:
        names: Sequence[str] = fill(store, given.trials, given.largest)
    print(f"{len(names)} studies with {given.trials} trials; the largest has {given.largest}", flush=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        with serving(home) as server:
            measure_ours(browser, server, names[0], given.times)
        if given.optuna:
            fill_optuna(given.optuna, home / "optuna.db", given.trials, given.largest)
            with dashboard(given.optuna, home / "optuna.db") as url:
                measure_dashboard(browser, url, given.times)
        browser.close()


def main() -> None:
    """Prints one line per page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=50_000, help="trials of all studies together")
    parser.add_argument("--largest", type=int, default=1_000, help="trials of the largest study")
    parser.add_argument("--times", type=int, default=5, help="views of each page after the first one")
    parser.add_argument("--optuna", default="", help="Python of an environment with optuna-dashboard")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), given)


if __name__ == "__main__":
    main()
