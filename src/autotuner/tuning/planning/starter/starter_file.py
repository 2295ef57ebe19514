"""Starter study file with comments, from the engine's catalog, for this machine and a small load."""

import json
import shlex
from dataclasses import dataclass, field

from autotuner.plugins.engine import Engine, LoadLimit
from autotuner.study.base import Value
from autotuner.study.launch import Hardware
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import CapacityLoad, Concurrency, LoadLevel, Workload
from autotuner.tuning.planning.ineffective_values import Load, bound_of, reaches
from autotuner.tuning.planning.starter.goals import GoalLines, StarterGoal, goal_lines

LISTED = 4
"""Number of parameters that are tuned if an engine does not name them; the others are comments."""

_PRICES = 'prices: {"*": 2.00, host: 1.00}   # USD per hour of a GPU, and of a host without GPUs: enter your own'
_FORMS = "lists, {low: 1, high: 8}, {low: 32, high: 2048, log: true} or {choices: [...]}"


@dataclass(frozen=True)
class Start:
    """What a starter file is written for."""

    name: str
    model: str
    hardware: Hardware = field(default_factory=lambda: Hardware(cpus=8))
    """The machine that the study will run on."""
    server: str = ""
    """The engine's program, if it is not the default."""
    deploy: str = ""
    """Kind of deployer; empty: the engine's usual one."""
    schema: str = ""
    """Path of the JSON Schema of study files, for editors; empty: none."""
    file: str = "study.yaml"
    """Path of the study file, for the command that checks it."""
    goal: StarterGoal = StarterGoal.THROUGHPUT
    guided: bool = True
    """Whether it is a file for an editor, which lists further parameters as comments and says how to check it."""


def starter_text(start: Start, engine: type[Engine]) -> str:
    """A valid YAML study file whose values can all matter under its load."""
    goal = goal_lines(start.goal, *engine.starter_load)
    levels: list[LoadLevel] = [Concurrency(in_flight=n) for n in goal.concurrency]
    workload = Workload(scenarios=(parse_scenario(goal.scenario),), levels=tuple(levels) or (CapacityLoad(),))
    worth = {entry.name: entry for entry in engine.catalog.values() if entry.suggested}
    wanted = list(dict.fromkeys(n for n in (_degree(engine, start.hardware), *engine.starters) if n in worth))
    fitted = {n: _fitted(worth[n], engine, start.hardware, workload) for n in wanted or list(worth)[:LISTED]}
    tuned = {name: values for name, values in fitted.items() if len(values) > 1}
    more = [f"  # {_line(entry, entry.suggested)}" for entry in worth.values() if entry.name not in tuned]
    schema = [f"# yaml-language-server: $schema={start.schema}"] if start.schema else []
    on_gpu = engine.starter_gpu_args if start.server and start.hardware.gpus else {}
    args = ", ".join(f"{name}: {_yaml(value)}" for name, value in on_gpu.items())
    bound = [f"# constraints: ['{engine.starter_constraint}']"] if engine.starter_constraint else []
    guide = f"# What to tune, under which load, and the goal. Check it with: autotuner plan {shlex.quote(start.file)}"
    return "\n".join(
        [
            *schema,
            *([guide, *_machine(engine, start.hardware)] if start.guided else []),
            f"name: {_yaml(start.name)}",
            f"model: {_yaml(start.model)}",
            "engine:",
            f"  kind: {engine.kind}",
            *([f"  server: {_yaml(start.server)}"] if start.server else []),
            f"  args: {{{args}}}   # fixed flags for every launch, including the default",
            f"deploy: {start.deploy or engine.starter_deployer}",
            f"parameters:{' ' if tuned else ' {} '} # {_FORMS}",
            *(f"  {_line(worth[name], values)}" for name, values in tuned.items()),
            *([*more, *bound] if start.guided else []),
            *_measured(goal),
            *([_PRICES] if goal.priced else []),
            f"search: {{trials: {goal.trials}, seed: 0}}",
            "",
        ]
    )


def _measured(goal: GoalLines) -> list[str]:
    levels = [f"  concurrency: {list(goal.concurrency)}      # load levels; all of them count"]
    return [
        "workload:",
        f'  scenarios: "{goal.scenario}"   # tokens in, tokens out; also N(mean,sd)/(mean,sd), U(min,max)/(min,max)',
        *(levels if goal.concurrency else []),
        *(f"  {line}" for line in goal.window),
        f"objective: {goal.objective}",
        *(["slo:"] if goal.slos else []),
        *(f"  - {slo}" for slo in goal.slos),
    ]


def _machine(engine: type[Engine], hardware: Hardware) -> list[str]:
    cores = f"{hardware.cpus} core{'s' if hardware.cpus > 1 else ''}"
    if hardware.gpus:
        return [f"# Written for {cores} and {hardware.gpus} x {hardware.gpu_name or 'GPU'}."]
    if engine.starter_degree:
        try_out = (
            "try the study with: --simulate H100x8" if engine.kind in {"sglang", "vllm"} else "run it on one that does"
        )
        return [f"# This machine has {cores} and no GPU; {try_out}"]
    return [f"# Written for {cores} without a GPU."]


def _degree(engine: type[Engine], hardware: Hardware) -> str:
    return engine.starter_degree if hardware.gpus > 1 else ""


def _fitted(entry: CatalogEntry, engine: type[Engine], hardware: Hardware, workload: Workload) -> tuple[Value, ...]:
    """The values worth trying on this machine and under this load."""
    if entry.name == engine.starter_degree:
        return tuple(n for n in (1, 2, 4, 8) if n <= hardware.gpus)
    if entry.name in engine.core_flags:
        return tuple(sorted({*(n for n in (1, 2, 4, 8, 16, 32) if n <= hardware.cpus), hardware.cpus}))
    load = Load.of(workload)
    limit = engine.load_limits.get(entry.name)
    if limit is LoadLimit.REQUESTS and load.in_flight:
        return tuple(sorted({max(1, load.in_flight // share) for share in (4, 2, 1)}))
    bound = bound_of(limit, load) if limit else None
    if bound is None:
        return entry.suggested
    idle = [value for value in entry.suggested if reaches(value, bound)]
    return tuple(value for value in entry.suggested if value not in idle[1:])


def _line(entry: CatalogEntry, values: tuple[Value, ...]) -> str:
    return f"{entry.name}: [{', '.join(_yaml(v) for v in values)}]   # {entry.meaning}"


def _yaml(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)
