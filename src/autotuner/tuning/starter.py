"""A commented study file to start from, made of the engine's own catalog."""

import json
from collections.abc import Iterable

from autotuner.study.noun import Value
from autotuner.study.parameter import CatalogEntry

LISTED = 4
"""Parameters that are switched on in the file; the others stand there as comments."""


_FORMS = "lists, {low: 1, high: 8}, {low: 32, high: 2048, log: true} or {choices: [...]}"


def starter_text(*, name: str, engine: str, model: str, catalog: Iterable[CatalogEntry]) -> str:
    """A valid YAML study file."""
    worth = [entry for entry in catalog if entry.suggested]
    tuned = [f"  {_values(entry)}" for entry in worth[:LISTED]]
    more = [f"  # {_values(entry)}" for entry in worth[LISTED:]]
    return "\n".join(
        [
            f"# What to tune, under which load, and what counts. Look first: autotuner plan {name}.yaml",
            f"name: {_yaml(name)}",
            f"model: {_yaml(model)}",
            "engine:",
            f"  kind: {engine}",
            "  args: {}   # fixed flags, applied to every launch, the default's included",
            f"parameters:{' ' if tuned else ' {} '} # {_FORMS}",
            *tuned,
            *more,
            "# constraints: ['threads * parallel <= 16']",
            "workload:",
            '  scenarios: "D(128,64)"   # tokens in, tokens out; also N(mean,sd)/(mean,sd), U(min,max)/(min,max)',
            "  concurrency: [1, 8]      # load levels; every one counts",
            "  warmup: 2s",
            "  duration: 20s",
            "objective: max output_throughput   # or: min p99 ttft at concurrency=8",
            "slo:",
            "  - p99 ttft <= 2s",
            "search: {strategy: bayesian, trials: 12, seed: 0}",
            "",
        ]
    )


def _values(entry: CatalogEntry) -> str:
    return f"{entry.name}: [{', '.join(_yaml(v) for v in entry.suggested)}]   # {entry.meaning}"


def _yaml(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)
