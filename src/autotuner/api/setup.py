"""Preparation of a first study: parameters of engines, the JSON Schema, and a study file to start from."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotuner.api.blocking import blocking
from autotuner.api.results import write_text
from autotuner.api.study_input import valid_name
from autotuner.errors import UsageError, did_you_mean
from autotuner.plugins import loading
from autotuner.plugins.engine import Engine
from autotuner.store import files
from autotuner.store.paths import data_home
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.spec import PluginSpec
from autotuner.study_file.default_name import default_name
from autotuner.study_file.json_schema import study_schema as schema_of
from autotuner.tuning.planning.starter.goals import StarterGoal
from autotuner.tuning.planning.starter.starter_file import Start
from autotuner.tuning.planning.starter.starter_file import starter_text as text_of


def study_schema() -> dict[str, Any]:
    """The JSON Schema of study files, for editors.

    Returns:
        The schema, with the settings of all installed plugins.

    Example:
        >>> sorted(autotuner.study_schema()["required"])
        ['model', 'objective', 'workload']
    """
    return schema_of(
        {
            group: {kind: cls.Settings.model_json_schema() for kind, cls in loading.available(group).items()}
            for group in loading.SECTIONS
        }
    )


def engine_parameters(engine: str) -> list[CatalogEntry]:
    """The parameters of an engine, with type, range, default and meaning.

    Args:
        engine: Kind of engine, such as ``vllm``.

    Returns:
        One entry per parameter, in the catalog's order.

    Raises:
        UsageError: If no such engine is installed.

    Example:
        >>> {entry.name: entry.default for entry in autotuner.engine_parameters("llama_cpp")}["batch-size"]
        2048
    """
    return list(loading.load("engines", engine).catalog.values())


def write_starter(
    path: str | Path,
    *,
    engine: str = "llama_cpp",
    model: str | None = None,
    server: str | None = None,
    goal: str = "throughput",
) -> Path:
    """Write a commented study file for this machine. An existing file is never replaced.

    Args:
        path: The file to write.
        engine: Kind of engine.
        model: The model's path or Hub ID; None: an example.
        server: The engine's program; None: its default, for llama.cpp a ``llama-server`` on PATH.
        goal: ``throughput``, ``latency``, ``long-prompts``, ``capacity`` or ``cost``.

    Returns:
        ``path``.

    Raises:
        UsageError: If the file exists, the engine or the goal is unknown, or the engine takes no program.

    Example:
        >>> autotuner.write_starter("new.yaml", engine="vllm", model="Qwen/Qwen3-8B").name
        'new.yaml'
    """
    path = Path(path)
    aim = _goal(goal)
    if files.exists(path) or path.is_symlink():
        raise UsageError.at(str(path), "already exists", remedy="name another file")
    name = default_name(str(path), path.resolve().parent)
    cls = loading.load("engines", engine)
    if server is not None and "server" not in cls.Settings.model_fields:
        raise UsageError.at("--server", f"{engine} takes no program", value=server, remedy="leave the option out")
    if server is None and engine == "llama_cpp":
        server = shutil.which("llama-server")
    start = replace(_start(name, model, cls), file=str(path), goal=aim)
    write_text(path, text_of(replace(start, server=server or "", schema=str(_schema_file())), cls))
    return path


def starter_text(engine: str, *, name: str, model: str | None = None, goal: str = "throughput") -> str:
    """The text of a study file to start from, with values that can matter on this machine under the goal's load.

    Args:
        engine: Kind of engine.
        name: The study's name.
        model: The model's path or Hub ID; None: an example.
        goal: ``throughput``, ``latency``, ``long-prompts``, ``capacity`` or ``cost``.

    Returns:
        YAML with comments.

    Raises:
        UsageError: If engine, name or goal is unknown or wrong.

    Example:
        >>> autotuner.starter_text("vllm", name="chat", goal="latency").splitlines()[0]
        'name: "chat"'
    """
    aim = _goal(goal)
    cls = loading.load("engines", engine)
    start = _start(valid_name(name, where="name"), model, cls)
    return text_of(replace(start, goal=aim, guided=False), cls)


def _goal(goal: str) -> StarterGoal:
    if goal not in set(StarterGoal):
        raise UsageError.at("goal", "unknown goal", value=goal, remedy=did_you_mean(goal, list(StarterGoal)))
    return StarterGoal(goal)


def _start(name: str, model: str | None, engine: type[Engine]) -> Start:
    return Start(
        name=name,
        model=model or engine.starter_model,
        hardware=blocking(loading.deployer(PluginSpec(kind="process")).hardware),
        deploy="process" if engine.starter_deployer == "docker" and not _docker_is_here() else "",
    )


def _docker_is_here() -> bool:
    return "DOCKER_HOST" in os.environ or Path("/var/run/docker.sock").exists() or shutil.which("docker") is not None


def _schema_file() -> Path:
    """The file with the JSON Schema, rewritten because plugins may have been added or removed."""
    path = data_home() / "study.schema.json"
    files.write_private(path, json.dumps(study_schema(), indent=1) + "\n")
    return path
