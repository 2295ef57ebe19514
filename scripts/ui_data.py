"""What the web UI takes from the Python code: types of the API, metrics, and texts that its formatting must reproduce.

``python scripts/ui_data.py openapi`` writes the description of the API to stdout, ``metrics`` and ``texts`` what
belongs into the files of these names in ``ui/src/format``. ``make ui-types`` writes all of them.
"""

import json
import sys
from random import Random
from typing import Any

import autotuner
from autotuner.cli.texts import age_text, duration_text
from autotuner.report.numbers import chance, metric_name, percent, plain, usd, with_unit
from autotuner.server.app import create_app
from autotuner.study.metric import METRICS

_VALUES = (0.0, 0.5, 1.5, 2.5, 12.25, 12.35, 99.95, 99.949, 100.5, 101.5, 999.5, 1234.5, 1e6, 1e-4, 9.995e-5, 1.25e-7)
"""Ties, which round to even, and values next to a change of form."""


def openapi() -> dict[str, Any]:
    """The description of the API."""
    return create_app(autotuner.open()).openapi()


def metrics() -> dict[str, Any]:
    """Unit and name of each metric."""
    return {
        name: {"unit": metric.unit.value, "better": metric.better.value, "title": metric_name(name)}
        for name, metric in METRICS.items()
    }


def texts() -> dict[str, Any]:
    """Values with their texts."""
    random = Random(0)  # noqa: S311 - the same values every time
    values = [*_VALUES, *(round(10 ** random.uniform(-6, 6), random.randint(2, 6)) for _ in range(60))]
    units = {metric.unit.value: name for name, metric in METRICS.items()}
    ratios = [0.0, 0.0994, 0.0995, 0.1, 0.125, -0.125, -0.0345, 1.005, *(random.uniform(-1, 1) for _ in range(20))]
    ratios += [-0.0004, 0.0004]
    seconds = [0.0, 0.5, 1.5, 59.6, 89.5, 90.0, 5399.0, 5400.0, 172799.0, 172800.0, 1e6]
    return {
        "plain": [[v, plain(v)] for v in values],
        "usd": [[v, usd(v)] for v in values],
        "percent": [[r, percent(r), percent(r, sign=False)] for r in ratios],
        "chance": [[p, chance(p)] for p in (0.0, 0.0099, 0.01, 0.125, 0.5, 0.854, 0.99, 0.991, 1.0)],
        "withUnit": [[unit, v, with_unit(name, v)] for unit, name in units.items() for v in values[::7]],
        "duration": [[s, duration_text(s)] for s in seconds],
        "age": [[s, age_text(s)] for s in seconds],
    }


if __name__ == "__main__":
    made = {"openapi": openapi, "metrics": metrics, "texts": texts}[sys.argv[1]]()
    sys.stdout.write(json.dumps(made, indent=1, sort_keys=sys.argv[1] == "openapi") + "\n")
