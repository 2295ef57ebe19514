"""Rules by which runtimes serve models, compared with the stand-in's, which were written independently."""

import copy
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autotuner.deployers.ome.resources import OmeResource
from autotuner.deployers.ome.runtime_matching import why_not
from support.ome_standin.rules.matching import UnsuitableError, require
from support.ome_standin.sample_objects import model as a_model
from support.ome_standin.sample_objects import runtime as a_runtime

Part = dict[str, Any]
VERSIONS = [
    "4.51.0",
    "4.51",
    "v4.51.0",
    "4.50.9",
    "4.52.0",
    "4.51.0.dev0",
    "4.51.0-rc1",
    "4.51.0+cu12",
    "4",
    "x",
    "04.1",
]


def reasons(runtime: Part | None = None, model: Part | None = None, **entry: Any) -> list[str]:
    """Reasons with changes of the runtime, of the model, and of the runtime's only supported format."""
    changed_runtime = a_runtime("engine:1", **(runtime or {}))
    changed_model = a_model("/models/x", **(model or {}))
    for supported in changed_runtime["spec"]["supportedModelFormats"]:
        supported.update(entry)
        for key in [k for k, v in supported.items() if v is None]:
            del supported[key]
    changed_model["spec"] = {k: v for k, v in changed_model["spec"].items() if v is not None}
    return why_not(OmeResource(changed_runtime), OmeResource(changed_model))


def framework(version: str | None = "4.51.0", **more: str) -> Part:
    return {"name": "transformers", **({} if version is None else {"version": version}), **more}


def test_matching_pairs() -> None:
    assert reasons() == []
    assert reasons(model={"modelParameterSize": None}) == [], "the range is ignored without a size"
    assert reasons(runtime={"modelSizeRange": None}) == []
    assert reasons(runtime={"modelSizeRange": {"min": "1B", "max": "1000M"}}) == [], "the bounds are inclusive"
    assert reasons(runtime={"protocolVersions": []}, priority=7, autoSelect=True) == []


@pytest.mark.parametrize(
    ("runtime", "model", "entry", "facts"),
    [
        ({"disabled": True}, {}, {}, ["disabled"]),
        ({"supportedModelFormats": []}, {}, {}, ["supportedModelFormats"]),
        ({}, {"modelFormat": None}, {}, ["modelFormat.name"]),
        ({}, {"modelArchitecture": "X"}, {}, ["modelArchitecture", "X", "LlamaForCausalLM"]),
        ({}, {"modelArchitecture": None}, {}, ["modelArchitecture", "not set", "LlamaForCausalLM"]),
        ({}, {}, {"modelArchitecture": None}, ["modelArchitecture", "LlamaForCausalLM", "not set"]),
        ({}, {"quantization": "fp8"}, {}, ["quantization", "fp8", "not set"]),
        ({}, {}, {"quantization": "fp8"}, ["quantization", "not set", "fp8"]),
        ({}, {}, {"modelFormat": None}, ["modelFormat", "safetensors", "not set"]),
        ({}, {"modelFormat": {"name": "onnx"}}, {}, ["modelFormat.name", "onnx", "safetensors"]),
        ({}, {"modelFormat": {"name": "safetensors"}}, {}, ["modelFormat.version", "not set", "1.0.0"]),
        ({}, {}, {"modelFramework": None}, ["modelFramework", "transformers", "not set"]),
        ({}, {"modelFramework": None}, {}, ["modelFramework", "not set", "transformers"]),
        ({}, {}, {"modelFramework": framework("4.52.0")}, ["modelFramework.version", "4.51.0", "4.52.0"]),
        ({}, {}, {"modelFramework": framework(operator="GreaterThan")}, ["modelFramework.version", "older", "4.51.0"]),
        ({}, {}, {"modelFramework": framework("4.50.0", operator="GreaterThanOrEqual")},
         ["modelFramework.version", "at most", "4.50.0"]),
        ({}, {"modelParameterSize": "7B"}, {}, ["modelParameterSize", "7B", "modelSizeRange", "0.5B", "2B"]),
        ({"modelSizeRange": {"min": "1B"}}, {}, {}, ["modelSizeRange"]),
        ({}, {}, {"diffusionPipeline": {"className": "Flux"}}, ["diffusionPipeline", "not set"]),
    ],
)  # fmt: skip
def test_reason_of_a_mismatch(runtime: Part, model: Part, entry: Part, facts: list[str]) -> None:
    """The reason has the field, the model's value and the runtime's, in this order."""
    (reason,) = reasons(runtime, model, **entry)
    assert re.search(".*".join(map(re.escape, facts)), reason)


def test_one_reason_for_each_format() -> None:
    (known,) = a_runtime("e")["spec"]["supportedModelFormats"]
    others = [{**known, "modelArchitecture": "A"}, {**known, "quantization": "int4"}]
    assert [reason.split()[0] for reason in reasons({"supportedModelFormats": others})] == [
        "modelArchitecture",
        "quantization",
    ]
    assert reasons({"supportedModelFormats": [*others, known]}) == []


@pytest.mark.parametrize(
    ("model", "runtime", "operator", "serves"),
    [
        ("1.7.0", "1.8.0", "GreaterThan", True), ("1.7.0", "1.7.0", "GreaterThan", False),
        ("1.7.0", "1.7.0", "GreaterThanOrEqual", True), ("1.8.0", "1.7.0", "GreaterThanOrEqual", False),
        ("1.7", "1.8.0", "GreaterThan", False), ("v1.7.0", "1.8.0", "GreaterThan", False),
        ("1.10.0", "1.9.0", "GreaterThan", False), ("1.9.0", "1.10.0", "GreaterThan", True),
        ("1.7.0.dev0", "1.8.0", "GreaterThan", False), ("1.7.0.dev0", "1.7.0.dev0", "GreaterThan", True),
        ("1.7.0-a", "1.7.0-b", "Equal", False), ("1", "1.0.0", "Equal", True), ("v1.0", "1.0.0", "Equal", True),
        ("x", "x", "Equal", False), ("01.0", "01.0", "Equal", False), ("1.0.0.", "1.0.0.", "Equal", False),
    ],
)  # fmt: skip
def test_versions(model: str, runtime: str, operator: str, serves: bool) -> None:
    supported = framework(runtime, operator=operator)
    assert (reasons(model={"modelFramework": framework(model)}, modelFramework=supported) == []) is serves


def test_pipelines() -> None:
    vae = {"library": "diffusers", "type": "AutoencoderKL"}
    supported = {"className": "Flux", "vae": vae, "additionalComponents": {"guard": {"library": "x"}}}
    has = {**supported, "scheduler": {"type": "Euler"}}
    assert reasons(model={"diffusionPipeline": has}, diffusionPipeline=supported) == []
    assert reasons(model={"diffusionPipeline": has}) == [], "fields that the runtime does not set are ignored"
    for change, facts in [
        ({"className": "SD3"}, ["diffusionPipeline.className", "SD3", "Flux"]),
        ({"vae": None}, ["diffusionPipeline.vae", "not set"]),
        ({"vae": {**vae, "type": "Other"}}, ["diffusionPipeline.vae.type", "Other", "AutoencoderKL"]),
        ({"additionalComponents": {}}, ["diffusionPipeline.guard", "not set"]),
    ]:
        (reason,) = reasons(model={"diffusionPipeline": {**has, **change}}, diffusionPipeline=supported)
        assert re.match(".*".join(map(re.escape, facts)), reason)


def named(names: list[str]) -> st.SearchStrategy[Part | None]:
    version = st.none() | st.sampled_from(VERSIONS)
    operator = st.none() | st.sampled_from(["Equal", "GreaterThan", "GreaterThanOrEqual"])
    part = st.fixed_dictionaries({"name": st.sampled_from(names), "version": version, "operator": operator})
    return st.none() | part.map(present)


def present(part: Part) -> Part:
    return {key: value for key, value in part.items() if value is not None}


FORMAT = named(["safetensors", "onnx"])
FRAMEWORK = named(["transformers"])
COMMON = {
    "modelArchitecture": st.sampled_from([None, "LlamaForCausalLM", "LlamaForCausalLM", "Other"]),
    "quantization": st.sampled_from([None, None, "fp8"]),
    "modelFormat": FORMAT,
    "modelFramework": FRAMEWORK,
}
SIZES = st.sampled_from(["500M", "0.5B", "1B", "7B", "1.5T", "x", "12"])
MODELS = st.fixed_dictionaries({**COMMON, "modelParameterSize": st.none() | SIZES}).map(present)
RANGES = st.none() | st.fixed_dictionaries({"min": SIZES, "max": SIZES})


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Part, Part]:
    """(runtime specification, model specification) with few differences, so that all rules are reached."""
    model = draw(MODELS)
    alike = {key: value for key, value in model.items() if key in COMMON}
    changed = st.sampled_from(sorted(COMMON)).flatmap(lambda key: COMMON[key].map(lambda value: {**alike, key: value}))
    entries = draw(st.lists(changed.map(present), max_size=3))
    runtime = {"disabled": draw(st.sampled_from([None, None, False, True])), "modelSizeRange": draw(RANGES)}
    return present({**runtime, "supportedModelFormats": entries}), model


@given(pairs())
@example(({"supportedModelFormats": [{"modelFormat": {"name": "a"}}]}, {"modelFormat": {"name": "a"}}))
@settings(max_examples=500)
def test_rules_agree_with_the_stand_ins(pair: tuple[Part, Part]) -> None:
    runtime, model = pair
    runtime_object = {"kind": "ClusterServingRuntime", "metadata": {"name": "r"}, "spec": runtime}
    model_object = {"kind": "ClusterBaseModel", "metadata": {"name": "m"}, "spec": model}
    before = copy.deepcopy((runtime_object, model_object))
    try:
        require(runtime_object, model_object)
        serves = True
    except UnsuitableError:
        serves = False
    assert (why_not(OmeResource(runtime_object), OmeResource(model_object)) == []) is serves
    assert (runtime_object, model_object) == before
