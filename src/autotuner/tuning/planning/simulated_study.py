"""Simulated variant of a study: the same study with the simulated engine, under another name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import shape_named
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec

_FLAVORS = ("sglang", "vllm")
_NAME_LENGTH = 63
_MOST_GPUS = 1024


def parse_gpus(text: str) -> tuple[str, int]:
    """(GPU, count) from ``H100x8``; without a count, one GPU. Raises ``UsageError`` with the nearest known name."""
    try:
        return gpu_named(text).name, 1  # a name may end with digits itself: RTX4090
    except UsageError:
        pass
    match = re.fullmatch(r"(.+?)\s*[xX]\s*([0-9]{1,6})", text.strip())
    name, count = (match[1], int(match[2])) if match else (text, 1)
    try:
        gpu = gpu_named(name).name
    except UsageError as error:
        [problem] = error.problems
        raise UsageError(problem.model_copy(update={"where": "--simulate"})) from None
    if not 1 <= count <= _MOST_GPUS:
        why = f"a machine has 1 to {_MOST_GPUS} GPUs"
        raise UsageError(Problem(where="--simulate", value=text, why=why, remedy="write e.g. H100x8"))
    return gpu, count


def _check_shape(model: Model, settings: Mapping[str, Any]) -> None:
    """Refuses a model of unknown shape; a known name or a ``config.json`` gives the shape."""
    if settings.get("model") or (model.local and (Path(model.path) / "config.json").is_file()):
        return
    try:
        shape_named(model.path)
    except UsageError as error:
        [problem] = error.problems
        near = f"{problem.remedy} " if problem.remedy.startswith("did you mean") else ""
        remedy = f"{near}write engine: {{kind: simulated, flavor: .., model: SHAPE}} in the file"
        raise UsageError(problem.model_copy(update={"where": "model.path", "remedy": remedy})) from None


def simulated_study(spec: StudySpec, gpus: str, *, mode: str | None = None, benchmark: str | None = None) -> StudySpec:
    """The study on simulated GPUs. Its name says so, so that its numbers are never mixed with real ones.

    Args:
        spec: The study, of an engine that can be simulated.
        gpus: ``H100x8``.
        mode: Kind of deployer that was requested; None is a process here, since the simulator is one.
        benchmark: Kind of benchmark that was requested; None is the native one.

    Raises:
        UsageError: For unknown GPUs, or an engine that cannot be simulated.
    """
    gpu, count = parse_gpus(gpus)
    entries = [
        e.replaced(engine=_simulated(spec.model, e.engine, gpu, count, where=f"engines.{e.name}.kind"))
        for e in spec.engines
    ]
    suffix = f"-simulated-{gpu}x{count}"
    found = spec.replaced(
        name=spec.name[: _NAME_LENGTH - len(suffix)] + suffix,
        engine=entries[0].engine if entries else _simulated(spec.model, spec.engine, gpu, count, where="engine.kind"),
        engines=tuple(entries),
        benchmark=spec.benchmark if benchmark else PluginSpec(kind="native"),
    )
    return found if mode else found.deployed(lambda _: PluginSpec(kind="process"))


def _simulated(model: Model, engine: EngineSpec, gpu: str, count: int, *, where: str) -> EngineSpec:
    kind = engine.kind
    if kind == "simulated":
        settings = {**engine.settings, "gpu": gpu, "gpu_count": count}
    elif kind in _FLAVORS:
        settings = {"flavor": kind, "gpu": gpu, "gpu_count": count}
    else:
        remedy = "leave --simulate out, or use one of these engines"
        why = "only sglang and vllm can be simulated"
        raise UsageError(Problem(where=where, value=kind, why=why, remedy=remedy))
    _check_shape(model, settings)
    return EngineSpec.model_validate({**settings, "kind": "simulated", "args": engine.args, "env": engine.env})
