"""A StudySpec as the text of a study file, for ``init``, exports and tests; the inverse of the loader.

The YAML is not written by a library: strings must be quoted by the rules of our reader, so that none reads back as
something else.
"""

import re
from collections.abc import Mapping
from typing import Any

from autotuner.study.base import number_text
from autotuner.study.metric import METRICS, Unit
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.parameters.parameter import Choices, Domain, Parameter
from autotuner.study.parameters.portable import is_portable
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.spec import ConfirmSpec, EngineEntry, EngineSpec, PluginSpec, SearchSpec, StudySpec
from autotuner.study.text.datasets import dataset_text
from autotuner.study.text.mixes import mix_text
from autotuner.study.text.stages import PREFIX as STAGES
from autotuner.study.text.traces import trace_text
from autotuner.study.workload import (
    Arrivals,
    CapacityLoad,
    Concurrency,
    LoadUnit,
    RequestRate,
    Scenario,
    Stages,
    TraceSpeed,
    Users,
    Workload,
)
from autotuner.study_file.located_document import core_value
from autotuner.study_file.portable_sections import written_sections

_PLAIN = re.compile(r"[A-Za-z0-9/.+_-](?:[A-Za-z0-9/.+_@%() -]*[A-Za-z0-9/.+_@%()-])?")


def render_study(spec: StudySpec) -> str:
    """The study as YAML; reading it gives an equal spec."""
    sections: dict[str, Any] = {
        "name": spec.name,
        "model": {"path": spec.model.path, "name": spec.model.name} if spec.model.name is not None else spec.model.path,
        **_servers(spec),
        "benchmark": _plugin({"kind": spec.benchmark.kind, **spec.benchmark.settings}),
        "parameters": {} if spec.engines else _parameters(spec),
        **written_sections(spec.engine.args, spec.parameters, _parameter),
        "constraints": list(spec.constraints),
        "baseline": dict(spec.baseline),
        "workload": workload_section(spec.workload),
        "objective": _one_or_list([_objective(o) for o in spec.objectives]),
        "slo": [_slo(s) for s in spec.slos],
        "min_success_rate": spec.min_success_rate,
        "search": _search(spec.search),
        "confirm": _confirm(spec.confirm),
        "quality": _quality(spec.quality) if spec.quality is not None else {},
        "prices": dict(spec.prices),
        "worker": dict(spec.worker),
    }
    return "".join(_section(key, value) for key, value in sections.items() if value not in ({}, []))


def _confirm(confirm: ConfirmSpec) -> dict[str, Any]:
    number = {"at_most": confirm.at_most} if confirm.repeats is None else {"repeats": confirm.repeats}
    margin = {} if confirm.margin is None else {"margin": confirm.margin}
    return {**number, **margin, "confidence": confirm.confidence, "challengers": confirm.challengers}


def _quality(quality: QualitySpec) -> dict[str, Any]:
    named = quality.parameters if isinstance(quality.parameters, str) else list(quality.parameters)
    rest = quality.model_dump(exclude={"parameters", "time_limit_s", "tasks"})
    tasks = {"tasks": _tasks(quality.tasks)} if quality.tasks is not None else {}
    return {"parameters": named, **rest, "time_limit": quality.time_limit_s, **tasks}


def _tasks(tasks: TasksSpec) -> dict[str, Any]:
    rest = tasks.model_dump(mode="json", exclude={"time_limit_s"}, exclude_none=True)
    return {**{name: value for name, value in rest.items() if value not in ([], {})}, "time_limit": tasks.time_limit_s}


def _servers(spec: StudySpec) -> dict[str, Any]:
    """The sections ``engine`` and ``deploy``, or ``engines``."""
    if spec.engines:
        return {"engines": [_entry(entry) for entry in spec.engines]}
    return {"engine": _plugin(_engine(spec.engine)), "deploy": _plugin(_deploy(spec.deploy))}


def _entry(entry: EngineEntry) -> dict[str, Any]:
    parts = {
        "deploy": _plugin(_deploy(entry.deploy)),
        "parameters": {p.name: _parameter(p) for p in entry.parameters},
        "constraints": list(entry.constraints),
        "baseline": dict(entry.baseline),
    }
    return {"name": entry.name, **_engine(entry.engine), **{k: v for k, v in parts.items() if v}}


def _parameters(spec: StudySpec) -> Any:
    if spec.combinations:
        return [dict(point) for point in spec.combinations]
    return {p.name: _parameter(p) for p in spec.parameters if not is_portable(p.name)}


def _engine(engine: EngineSpec) -> dict[str, Any]:
    own = {name: value for name, value in engine.args.items() if not is_portable(name)}
    parts = {"args": own, "env": dict(engine.env)}
    return {**engine.settings, "kind": engine.kind, **{k: v for k, v in parts.items() if v}}


def _deploy(deploy: PluginSpec) -> dict[str, Any]:
    return {"kind": deploy.kind, **deploy.settings}


def _plugin(parts: dict[str, Any]) -> Any:
    return parts["kind"] if set(parts) == {"kind"} else parts


def _one_or_list(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items


def _parameter(parameter: Parameter) -> Any:
    if parameter.combinations:
        points = {name: dict(flags) for name, flags in parameter.combinations.items()}
        return {"combinations": points, **({"when": parameter.when} if parameter.when else {})}
    domain = _domain(parameter.domain)
    if not parameter.when:
        return domain
    return {**(domain if isinstance(domain, dict) else {"choices": domain}), "when": parameter.when}


def _domain(domain: Domain) -> Any:
    if isinstance(domain, Choices):
        return list(domain.values)
    parts: dict[str, Any] = {"low": domain.low, "high": domain.high}
    if domain.step is not None and not (isinstance(domain.step, int) and domain.step == 1):
        parts["step"] = domain.step
    if domain.log:
        parts["log"] = True
    return parts


def _seconds(value: float) -> str:
    return f"{number_text(value)}s"


def workload_section(workload: Workload) -> dict[str, Any]:
    found: dict[str, Any] = {
        "api": workload.api.value,
        "scenarios": [_scenario(scenario) for scenario in workload.scenarios],
        "concurrency": [level.in_flight for level in workload.levels if isinstance(level, Concurrency)],
        "rates": [_rate(level) for level in workload.levels if isinstance(level, RequestRate)],
        "stages": [level.text.removeprefix(STAGES) for level in workload.levels if isinstance(level, Stages)],
        "users": [level.count for level in workload.levels if isinstance(level, Users)],
        "speeds": [level.speed for level in workload.levels if isinstance(level, TraceSpeed)],
        "warmup": _seconds(workload.warmup_s),
        "duration": _seconds(workload.duration_s),
        "max_duration": None if workload.max_duration_s is None else _seconds(workload.max_duration_s),
        "min_requests": workload.min_requests,
        "requests": workload.requests,
        "request_timeout": _seconds(workload.request_timeout_s),
        "seed": workload.seed,
        "reuse_prompts": workload.reuse_prompts,
        "stream": workload.stream,
        "token_ids": workload.token_ids,
        "prefix_tokens": workload.prefix_tokens,
        "ignore_eos": workload.ignore_eos,
        "extra_body": dict(workload.extra_body),
        "tokenizer": workload.tokenizer,
    }
    for level in workload.levels:
        if isinstance(level, CapacityLoad):
            found |= {"duration": None, "min_requests": None, **_capacity(level)}
    return {k: v for k, v in found.items() if v is not None and v not in ([], {})}


def _capacity(level: CapacityLoad) -> dict[str, Any]:
    return {
        "load": level.text,
        "unit": level.unit.value,
        "precision": level.precision,
        "confidence": None if level.unit is LoadUnit.SPEED else level.confidence,
        "low": level.low,
        "high": level.high,
        "max_requests": level.max_requests,
        "max_duration": _seconds(level.max_duration_s),
    }


def _scenario(scenario: Scenario) -> str:
    if scenario.mix:
        parts = (p.scenario.model_copy(update={"text": _scenario(p.scenario)}) for p in scenario.mix)
        return mix_text([p.model_copy(update={"scenario": own}) for p, own in zip(scenario.mix, parts, strict=True)])
    if scenario.trace:
        return trace_text(scenario.trace)
    return dataset_text(scenario.dataset, scenario.conversations) if scenario.dataset else scenario.text


def _rate(level: RequestRate) -> dict[str, Any]:
    shape = {"burstiness": level.burstiness} if level.arrivals is Arrivals.GAMMA else {}
    return {"rate": level.rate, "arrivals": level.arrivals.value, **shape}


def _objective(objective: Objective) -> str:
    return objective.text


def _slo(slo: SLO) -> Any:
    if slo.hard and slo.weight == 1:
        return slo.text
    unit = "s" if METRICS[slo.metric].unit is Unit.SECONDS else ""
    bound = {"at_most" if slo.comparison is Comparison.LE else "at_least": number_text(slo.threshold) + unit}
    parts = {
        "metric": slo.metric,
        "statistic": slo.statistic,
        **bound,
        "of": slo.of,
        "at": slo.at,
        "scenario": slo.scenario,
    }
    return {**{k: v for k, v in parts.items() if v is not None}, "hard": slo.hard, "weight": slo.weight}


def _search(search: SearchSpec) -> dict[str, Any]:
    parts = {
        "strategy": search.kind,
        "trials": search.trials,
        "seed": search.seed,
        "time": None if search.time_s is None else _seconds(search.time_s),
        "gpu_hours": search.gpu_hours,
        "parallel": search.parallel,
        "trial_timeout": None if search.trial_timeout_s is None else _seconds(search.trial_timeout_s),
        "racing": search.racing,
        "max_environment_faults": search.max_environment_faults,
        "warm_start": search.warm_start if isinstance(search.warm_start, str) else list(search.warm_start),
        "prior": search.prior,
        "stop": search.stop.model_dump() if search.stop else None,
    }
    return {**{k: v for k, v in parts.items() if v is not None}, **search.settings}


_BLOCKS = ("parameters", "constraints", "baseline", "workload", "slo", "engine", "engines", "search")


def _section(key: str, value: Any) -> str:
    if key in _BLOCKS and isinstance(value, Mapping):
        return f"{key}:\n" + "".join(f"  {flow_text(k)}: {flow_text(v)}\n" for k, v in value.items())
    if key in _BLOCKS and isinstance(value, list):
        return f"{key}:\n" + "".join(f"  - {flow_text(v)}\n" for v in value)
    return f"{key}: {flow_text(value)}\n"


def flow_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow_text(str(k))}: {flow_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow_text, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _string(str(value))


def _string(text: str) -> str:
    # These are strings to our reader, but booleans to YAML 1.1 tools.
    is_boolean_elsewhere = text.lower() in ("on", "off", "yes", "no", "y", "n")
    plain = _PLAIN.fullmatch(text) and not text.startswith(("-", "."))
    if plain and not is_boolean_elsewhere and isinstance(core_value(text), str):
        return text
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isascii() and character.isprintable():
        return character
    if character.isalnum():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
