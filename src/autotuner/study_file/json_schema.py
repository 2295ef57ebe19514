"""JSON Schema of study files, for completion, descriptions and validation in editors."""

import copy
from collections.abc import Mapping
from typing import Any

from autotuner.study.metric import METRICS, STATISTICS
from autotuner.study.parameters.portable import PRESET, SECTIONS, SPELLINGS, Section
from autotuner.study.spec import AUTO, AUTO_STRATEGY
from autotuner.study_file.engines.forms import EngineEntryForm
from autotuner.study_file.form_fields import ParameterForm
from autotuner.study_file.forms import ModelForm, StudyFile, WorkloadForm
from autotuner.study_file.goal_forms import ObjectiveForm, SloForm

_SECTIONS = {"engines": "engine", "deployers": "deploy", "benchmarks": "benchmark", "searches": "search"}


def study_schema(plugins: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of study files.

    Args:
        plugins: JSON Schema of each plugin's settings, by group (``engines``, ``deployers``, ``benchmarks``,
            ``searches``) and kind. They appear beside ``kind`` (``strategy`` for searches).
    """
    schema: dict[str, Any] = copy.deepcopy(StudyFile.model_json_schema())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "LLM Inference Autotuner study"
    definitions = schema.setdefault("$defs", {})
    for form in (ModelForm, ObjectiveForm, SloForm, ParameterForm, WorkloadForm):
        own = form.model_json_schema()
        definitions.update(own.pop("$defs", {}))
        definitions[form.__name__] = own
    for bound in ("ObjectiveForm", "SloForm"):
        properties = definitions[bound]["properties"]
        properties["metric"]["enum"] = sorted(METRICS)
        properties["statistic"] = {"enum": [*STATISTICS, None], "description": properties["statistic"]["description"]}
    definitions["ParameterForm"] = _parameter(definitions["ParameterForm"])
    properties = schema["properties"]
    properties["model"] |= {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/ModelForm"}]}
    for key, long in (("objective", "ObjectiveForm"), ("slo", "SloForm")):
        one = {"anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{long}"}]}
        properties[key] |= {"anyOf": [*one["anyOf"], {"type": "array", "items": one}]}
    listed = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "additionalProperties": _value()},
        "description": "Combinations to try, one by one.",
    }
    mapping = {key: properties["parameters"].pop(key) for key in ("type", "additionalProperties", "maxProperties")}
    properties["parameters"]["anyOf"] = [mapping, listed]
    properties["constraints"] |= {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    for name, portable in SECTIONS.items():
        properties[name] |= _portable(portable)
    definitions["RateForm"] = _RATE
    rate = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"$ref": "#/$defs/RateForm"}]}
    rates = definitions["WorkloadForm"]["properties"]["rates"]
    rates |= {"anyOf": [*rate["anyOf"], {"type": "array", "items": rate}]}
    for group, section in _SECTIONS.items():
        base = _base(section)
        properties[section] |= {"anyOf": _kinds(section, base, dict(plugins.get(group, {})), definitions)}
    entries = _kinds("entry", _entry(properties["deploy"]["anyOf"]), dict(plugins.get("engines", {})), definitions)
    properties["engines"] |= {"minItems": 1, "items": {"anyOf": entries}}
    del definitions["EngineEntryForm"]
    schema["required"].remove("engine")
    schema["oneOf"] = [{"required": ["engine"]}, {"required": ["engines"]}]
    return schema


def _entry(deployers: list[dict[str, Any]]) -> dict[str, Any]:
    """Schema of an entry of ``engines`` without the engine's own settings.

    Args:
        deployers: Schema of each form of ``deploy``.
    """
    form: dict[str, Any] = copy.deepcopy(EngineEntryForm.model_json_schema())
    form.pop("$defs", None)
    properties = form["properties"]
    properties["deploy"] = {"description": properties["deploy"]["description"], "anyOf": deployers}
    properties["name"] = {"type": "string", "description": properties["name"]["description"]}
    constraint = {"type": "string"}
    properties["constraints"] |= {"anyOf": [constraint, {"type": "array", "items": constraint}]}
    return form


_RATE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rate"],
    "properties": {
        "rate": {"type": "number", "exclusiveMinimum": 0, "description": "Requests per second."},
        "arrivals": {"enum": ["constant", "poisson", "gamma"], "description": "How requests arrive."},
        "burstiness": {"type": "number", "exclusiveMinimum": 0, "description": "Shape of gamma arrivals."},
    },
}


_KEYS = {
    "gemm": "Weights and activations of linear layers.",
    "kv-cache": "Keys and values of past tokens.",
    "attention": "Arithmetic of attention.",
    "moe": "Weights of experts.",
    "tp": "Tensor parallelism: number of GPUs that each layer is split over.",
    "pp": "Pipeline parallelism: number of consecutive groups of layers.",
    "dp": "Data parallelism: number of copies of the model.",
    "ep": "Expert parallelism: number of GPUs that experts are spread over.",
    "cp": "Context parallelism: number of GPUs that share a prompt.",
}


def _portable(section: Section) -> dict[str, Any]:
    """Schema of a portable section: a preset's name, or a mapping of keys to fixed or tuned values."""

    def setting(value: dict[str, Any], description: str, *, ranges: bool = False) -> dict[str, Any]:
        tuned = [{"type": "array", "minItems": 1, "items": value}, {"$ref": "#/$defs/ParameterForm"}]
        return {"description": description, "anyOf": [value, *(tuned if ranges else tuned[:1])]}

    preset = {"enum": list(section.presets)}
    keys = {PRESET: setting(preset, "Named set of values; other keys take precedence.")}
    for key, values in section.keys.items():
        whole: dict[str, Any] = {"type": ["integer", "null"], "minimum": 1}
        word: dict[str, Any] = {"enum": [*(values or ()), *SPELLINGS, None]}
        keys[key.replace("-", "_")] = setting(word if values else whole, _KEYS[key], ranges=values is None)
    return {"anyOf": [preset, {"type": "object", "additionalProperties": False, "properties": keys}]}


def _base(section: str) -> dict[str, Any]:
    """Schema of a plugin's section without the plugins' settings."""
    model = StudyFile.model_fields[section].annotation
    assert model is not None  # noqa: S101 - every field of the file is annotated
    form: dict[str, Any] = copy.deepcopy(model.model_json_schema())
    return form


def _kinds(
    section: str, base: dict[str, Any], plugins: dict[str, Mapping[str, Any]], definitions: dict[str, Any]
) -> list[dict[str, Any]]:
    key = "strategy" if section == "search" else "kind"
    definitions.update(base.pop("$defs", {}))
    if not plugins:
        return [{"type": "string"}, base]
    if section == "search":
        plugins = {AUTO: plugins.get(AUTO_STRATEGY, {}), **plugins}
    choices: list[dict[str, Any]] = [{"enum": sorted(plugins)}]
    for kind, settings in sorted(plugins.items()):
        name = f"{section}.{kind}"
        inner = _renamed(copy.deepcopy(dict(settings)), name)
        definitions.update({f"{name}.{k}": v for k, v in inner.pop("$defs", {}).items()})
        merged = copy.deepcopy(base)
        merged["title"] = name
        merged["properties"] = {**inner.get("properties", {}), **merged["properties"]}
        merged["properties"][key] = {"const": kind, "description": base["properties"][key]["description"]}
        merged["required"] = sorted({*merged.get("required", ()), *inner.get("required", ())})
        merged["additionalProperties"] = False
        if section == "search" and kind != AUTO:
            merged["required"] = sorted({*merged["required"], key})
        definitions[name] = merged
        choices.append({"$ref": f"#/$defs/{name}"})
    return choices


def _renamed(schema: Any, prefix: str) -> Any:
    """The plugin's schema with references that are unique in the whole schema."""
    if isinstance(schema, dict):
        return {
            k: v.replace("#/$defs/", f"#/$defs/{prefix}.")
            if k == "$ref" and isinstance(v, str)
            else _renamed(v, prefix)
            for k, v in schema.items()
        }
    return [_renamed(item, prefix) for item in schema] if isinstance(schema, list) else schema


def _parameter(form: dict[str, Any]) -> dict[str, Any]:
    values = {"type": "array", "minItems": 1, "items": _value()}
    return {"description": form.get("description", ""), "anyOf": [values, form]}


def _value() -> dict[str, Any]:
    """Schema of a parameter's value."""
    single = {"type": ["boolean", "number", "string"]}
    several = {
        "type": "array",
        "minItems": 1,
        "items": single,
        "description": "One value of a flag that takes several.",
    }
    return {"anyOf": [single, {"type": "null"}, several]}
