"""A commented study file to start from, made of the engine's own catalog."""

import json

from autotuner.seams.engine import Engine
from autotuner.study.noun import Value
from autotuner.study.parameter import CatalogEntry

LISTED = 4
"""Parameters that are switched on where an engine does not say which; the others stand there as comments."""

_FORMS = "lists, {low: 1, high: 8}, {low: 32, high: 2048, log: true} or {choices: [...]}"


def starter_text(*, name: str, model: str, engine: type[Engine]) -> str:
    """A valid YAML study file."""
    worth = {entry.name: entry for entry in engine.catalog.values() if entry.suggested}
    first = [worth[n] for n in engine.starters if n in worth] or list(worth.values())[:LISTED]
    tuned = [f"  {_values(entry)}" for entry in first]
    more = [f"  # {_values(entry)}" for entry in worth.values() if entry not in first]
    bound = [f"# constraints: ['{engine.starter_constraint}']"] if engine.starter_constraint else []
    return "\n".join(
        [
            f"# What to tune, under which load, and what counts. Look first: autotuner plan {name}.yaml",
            f"name: {_yaml(name)}",
            f"model: {_yaml(model)}",
            "engine:",
            f"  kind: {engine.kind}",
            "  args: {}   # fixed flags, applied to every launch, the default's included",
            f"deploy: {engine.starter_deployer}",
            f"parameters:{' ' if tuned else ' {} '} # {_FORMS}",
            *tuned,
            *more,
            *bound,
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
