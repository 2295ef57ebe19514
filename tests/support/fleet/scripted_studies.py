"""Studies of the plugins in :mod:`support.fleet.scripted_plugins`, for workers that a test starts."""

import json
import os
from pathlib import Path
from typing import Any

FOLDER = "SCRIPTED_FOLDER"
"""Variable with the folder of the journals."""
HOST = "SCRIPTED_HOST"
"""Variable with the name of the machine; only processes of workers have it."""


def journal_of(folder: Path, study: str) -> list[dict[str, Any]]:
    """What the runs of a study noted, in order."""
    path = folder / f"{study}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def install(folder: Path) -> dict[str, str]:
    """Makes the plugins available to processes with the returned variables."""
    info = folder / "scripted_plugins-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted-plugins\nVersion: 1.0\n")
    points = {"engines": "ScriptedEngine", "deployers": "ScriptedDeployer", "benchmarks": "ScriptedWindows"}
    lines = [
        f"[autotuner.{group}]\nscripted = support.fleet.scripted_plugins:{name}\n" for group, name in points.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    tests = Path(__file__).parents[2]
    return {"PYTHONPATH": f"{folder}{os.pathsep}{tests}", FOLDER: str(folder)}


def scripted_study(
    name: str, *, trials: int = 4, repeats: int = 2, window_s: float = 0.05, **more: Any
) -> dict[str, Any]:
    """A study of the plugins with ``trials`` launches of the search and two configurations in the proof."""
    return {
        "name": name,
        "model": "m",
        "engine": "scripted",
        "deploy": "scripted",
        "benchmark": {"kind": "scripted", "window_s": window_s},
        "parameters": {"parallel": [1, 3, 5, 8, 13, 21, 34][: trials - 1]},
        "workload": {"scenarios": ["D(16,8)"], "concurrency": [1]},
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": trials},
        "confirm": {"repeats": repeats, "challengers": 1},
        **more,
    }
