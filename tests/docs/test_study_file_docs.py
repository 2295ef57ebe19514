"""The study file reference is complete, and all studies in pages and examples are valid, for editors too."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from autotuner.deployers.ome.settings import OmeSettings
from autotuner.engines.sglang.engine import Sglang
from autotuner.engines.simulated import SimulatedSettings
from autotuner.study.measurement import GpuUse
from autotuner.study.metric import METRICS
from autotuner.study_file.forms import SearchForm, StudyFile, WorkloadForm
from autotuner.study_file.goal_forms import ObjectiveForm, SloForm
from autotuner.study_file.json_schema import study_schema
from autotuner.study_file.legacy.task import is_older
from autotuner.study_file.loader import parse_study
from autotuner.study_file.located_document import read_text
from autotuner.study_file.writer import render_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/study-file.md").read_text()
EXAMPLES = sorted([*ROOT.glob("examples/*.yaml"), *ROOT.glob("examples/*.json")])
SHOWN = [
    (page.relative_to(ROOT).as_posix(), text)
    for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    if "workload:" in text
]


@pytest.mark.parametrize(("page", "text"), SHOWN)
def test_studies_on_pages_are_valid(page: str, text: str) -> None:
    spec = parse_study(text, source="study.yaml", folder=ROOT).spec
    assert parse_study(render_study(spec), source="study.yaml", folder=ROOT).spec == spec


@pytest.mark.parametrize("form", [StudyFile, WorkloadForm, SearchForm, ObjectiveForm, SloForm])
def test_reference_covers_every_key(form: type[BaseModel]) -> None:
    assert not [key for key in form.model_fields if not re.search(rf"\b{key}\b", PAGE)]
    assert all(info.description for info in form.model_fields.values())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_studies(path: Path) -> None:
    spec = parse_study(path.read_text(), source=path.name, folder=path.parent).spec
    assert bool(spec.parameters) == (spec.deploy.kind != "external")


def _accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Validates a value against the parts of JSON Schema that the study schema uses."""
    if "$ref" in schema and not _accepts(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root):
        return False
    if "anyOf" in schema and not any(_accepts(option, value, root) for option in schema["anyOf"]):
        return False
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        return False
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    kinds["boolean"] = bool
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(isinstance(value, kinds[k]) and (k == "boolean" or value is not True) for k in wanted):
        return False
    if isinstance(value, list) and len(value) < schema.get("minItems", 0):
        return False
    if isinstance(value, list):
        return all(_accepts(schema.get("items", {}), item, root) for item in value)
    return _object(schema, value, root) if isinstance(value, dict) else True


def _object(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    further = schema.get("additionalProperties", True)
    if any(key not in value for key in schema.get("required", ())):
        return False
    for key, inner in value.items():
        if key not in properties and further is False:
            return False
        if not _accepts(properties.get(key, further if isinstance(further, dict) else {}), inner, root):
            return False
    return True


SETTINGS = {"properties": {"binary": {"$ref": "#/$defs/File"}}, "$defs": {"File": {"type": "string"}}}
SCHEMA = study_schema(
    {
        "engines": {
            "llama_cpp": SETTINGS,
            "simulated": SimulatedSettings.model_json_schema(),
            "sglang": Sglang.Settings.model_json_schema(),
            "pretend": {"properties": {"start_timeout": {"type": "number"}}},
        },
        "searches": {"grid": {}, "bayesian": {}},
        "deployers": {
            "process": {},
            "external": {"properties": {"url": {"type": "string"}}},
            "ome": OmeSettings.model_json_schema(),
        },
    }
)


@pytest.mark.parametrize("text", [*(p.read_text() for p in EXAMPLES), *(text for _, text in SHOWN)])
def test_editors_accept_what_the_loader_accepts(text: str) -> None:
    data = read_text(text, "x.yaml").data
    assert is_older(data) or _accepts(SCHEMA, data, SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"engin": 1}, {"engine": "lama"}, {"engine": {"kind": "llama_cpp", "binary": 3}}, {"parameters": {"a": 4}},
        {"engine": {"kind": "llama_cpp", "unknown": 3}}, {"slo": [{"metric": "tttf", "at_most": "1s"}]},
        {"workload": {"scenarios": "D(1,1)", "warmpu": 1}}, {"search": {"trails": 1}},
        {"quantization": "fp8"}, {"quantization": {"kv": "fp8"}}, {"quantization": {"kv_cache": ["auto", "fp9"]}},
        {"parallelism": {"tp": "2"}}, {"parallelism": {"preset": ["balanced", "large"]}}, {"parallelism": {"tp": []}},
    ],
)  # fmt: skip
def test_editors_reject_mistakes(change: dict[str, Any]) -> None:
    data = read_text(SHOWN[0][1], "x.yaml").data
    assert _accepts(SCHEMA, data, SCHEMA)
    assert not _accepts(SCHEMA, {**data, **change}, SCHEMA)


def test_entries_of_engines_have_the_settings_of_their_kinds() -> None:
    data = {
        key: value
        for key, value in read_text(SHOWN[0][1], "x.yaml").data.items()
        if key not in ("engine", "parameters")
    }
    entry = {
        "kind": "simulated",
        "gpu": "H100",
        "baseline": {"max-num-seqs": 4},
        "deploy": {"kind": "external", "url": "x"},
    }
    assert _accepts(SCHEMA, {**data, "engines": ["llama_cpp", entry]}, SCHEMA)
    for mistake in (
        "lama",
        {**entry, "gpus": "H100"},
        {**entry, "kind": "llama_cpp"},
        {**entry, "baseline": [4]},
        {**entry, "deploy": {"kind": "external", "uri": "x"}},
        {"name": "a"},
    ):
        assert not _accepts(SCHEMA, {**data, "engines": [mistake]}, SCHEMA), mistake


@pytest.mark.parametrize(
    "change",
    [
        {"quantization": "dynamic-fp8"}, {"quantization": {"kv_cache": ["auto", "fp8_e5m2", None], "gemm": "bf16"}},
        {"parallelism": {"tp": [1, 2, 4], "dp": 1, "pp": None}}, {"parallelism": {"preset": ["single-gpu"]}},
        {"parallelism": {"tp": {"low": 1, "high": 8, "log": True}}},
    ],
)  # fmt: skip
def test_editors_accept_portable_settings(change: dict[str, Any]) -> None:
    data = {**read_text(SHOWN[0][1], "x.yaml").data, **change}
    assert _accepts(SCHEMA, data, SCHEMA)
    assert parse_study(data, source="x.yaml", folder=ROOT).spec


def test_schema_is_complete() -> None:
    references = set(re.findall(r"'#/\$defs/([^']+)'", str(SCHEMA)))
    assert references <= set(SCHEMA["$defs"])
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert set(SCHEMA["$defs"]["SloForm"]["properties"]["metric"]["enum"]) == set(METRICS)


def test_metrics_reference_covers_every_metric_and_figure() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text()
    assert not [name for name in METRICS if f"`{name}`" not in page]
    assert not [name for name in GpuUse.model_fields if f"`gpu_{name}`" not in page]
