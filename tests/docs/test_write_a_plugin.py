"""The plugin on the how-to page can be installed, passes the kit, and tunes its server."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload

Fenced = Callable[[str, str], list[str]]
PAGE = "docs/how-to/write-a-plugin.md"


@pytest.fixture
def installed(fenced: Fenced, workplace: Path) -> Path:
    """A folder with the files of the page, installed with their metadata as an installer would."""
    plugin, kit = fenced(PAGE, "python")
    (workplace / "pretend.py").write_text(plugin)
    (workplace / "test_pretend.py").write_text(kit)
    project = tomllib.loads(fenced(PAGE, "toml")[0])["project"]
    info = workplace / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for group, points in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return workplace


def python(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_plugin_passes_the_conformance_kit(installed: Path) -> None:
    output = python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_pretend.py")
    assert " passed" in output
    assert not {"failed", "skipped", "error"} & set(output.split())


def test_plugin_is_found_and_tunes_its_server(installed: Path, fenced: Fenced) -> None:
    catalog = json.loads(python(installed, "-m", "autotuner", "params", "pretend", "--json"))["parameters"]
    assert [entry["name"] for entry in catalog] == ["parallel", "token-ms"]
    (text,) = fenced(PAGE, "yaml")
    study = yaml.safe_load(text)
    workload = {**study["workload"], **calm_workload(requests=40, concurrency=study["workload"]["concurrency"])}
    search = {**study.get("search", {}), "racing": "off"}
    calm = {"workload": workload, "search": search, "confirm": {"repeats": 0}, "benchmark": dict(CALM_BENCHMARK)}
    (installed / "study.yaml").write_text(yaml.safe_dump({**study, **calm}))
    result = json.loads(python(installed, "-m", "autotuner", "run", "study.yaml", "--json"))
    assert result["state"] == "done"
    assert {t["state"] for t in result["trials"]} == {"done"}
    speeds = {t["configuration"]["values"].get("parallel"): t["verdict"]["objectives"][0] for t in result["trials"]}
    assert set(speeds) == {None, 1, 8}, "4 is the default, which trial 0 ran"
    assert speeds[8] > 1.5 * speeds[1], "what was set reached the server"
    assert all(f"--parallel={n}" in t["argv"] for n, t in zip((1, 8), sorted_trials(result), strict=True))


def sorted_trials(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the trials that set a value, ordered by it."""
    return sorted(
        (t for t in result["trials"] if t["configuration"]["values"]),
        key=lambda t: int(t["configuration"]["values"]["parallel"]),
    )
