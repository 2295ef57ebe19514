"""Studies with several engines on doubles."""

import json
from pathlib import Path
from typing import Any

from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.measurement import Measurement
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.planning.engines.prepared_engines import PreparedEngines, joined

RATES = {"a": 100.0, "b": 120.0, "c": 80.0}
"""Requests per second of each engine's default; ``parallel`` adds its value."""


def entry(name: str, *parallel: int, **more: Any) -> dict[str, Any]:
    """An entry of ``engines`` that tunes ``parallel``."""
    tuned = {"parameters": {"parallel": list(parallel)}} if parallel else {}
    return {"name": name, "kind": "fake", "args": {"note": name}, "deploy": "fake", **tuned, **more}


def study_file(*entries: Any, **changes: Any) -> dict[str, Any]:
    """A study file with these engines."""
    return {
        "name": "s",
        "model": "m",
        "engines": list(entries) or [entry("a", 2, 8), entry("b", 2, 16)],
        "workload": {"scenarios": "D(8,8)", "concurrency": 1},
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 6},
        "confirm": {"repeats": 2},
        **changes,
    }


def study(*entries: Any, **changes: Any) -> StudySpec:
    """The study of :func:`study_file`."""
    text = json.dumps(study_file(*entries, **changes))
    return parse_study(text, source="study.yaml", folder=Path("/")).spec


def by_engine(endpoint: Endpoint, window: Window) -> Measurement:
    """A rate that depends on the engine and on ``parallel``."""
    flags = dict(part.removeprefix("--").split("=", 1) for part in endpoint.argv if "=" in part)
    return scripted_measurement(window, rate=RATES[flags["note"]] + float(flags.get("parallel", 0)))


def prepared(
    loop: Any, spec: StudySpec, deployers: dict[str, FakeDeployer], script: Any = by_engine
) -> PreparedEngines:
    """The study with a double of each engine; its deployer is put into ``deployers`` unless it is there."""
    for found in spec.engines:
        deployers.setdefault(found.name, FakeDeployer())
    engines = {
        e.name: loop.prepared(spec.of_engine(e.name), deployer=deployers[e.name], script=script) for e in spec.engines
    }
    return joined(spec, engines)
