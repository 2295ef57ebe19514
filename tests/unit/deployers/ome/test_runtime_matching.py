"""Which runtime serves which model: by reason, and beside the stand-in's rules, which were written apart from these."""

import copy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autotuner.deployers.ome.resources import OmeResource
from autotuner.deployers.ome.runtime_matching import why_not
from support.ome_standin.matching import UnsuitableError, require
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
    """With changes of the runtime's specification, the model's, and the runtime's one supported format."""
    theirs = a_runtime("engine:1", **(runtime or {}))
    mine = a_model("/models/x", **(model or {}))
    for supported in theirs["spec"]["supportedModelFormats"]:
        supported.update(entry)
        for key in [k for k, v in supported.items() if v is None]:
            del supported[key]
    mine["spec"] = {k: v for k, v in mine["spec"].items() if v is not None}
    return why_not(OmeResource(theirs), OmeResource(mine))


def framework(version: str | None = "4.51.0", **more: str) -> Part:
    return {"name": "transformers", **({} if version is None else {"version": version}), **more}


def test_one_that_serves() -> None:
    assert reasons() == []
    assert reasons(model={"modelParameterSize": None}) == [], "no size: the range does not count"
    assert reasons(runtime={"modelSizeRange": None}) == []
    assert reasons(runtime={"modelSizeRange": {"min": "1B", "max": "1000M"}}) == [], "bounds belong to it"
    assert reasons(runtime={"protocolVersions": []}, priority=7, autoSelect=True) == []


@pytest.mark.parametrize(
    ("runtime", "model", "entry", "reason"),
    [
        ({"disabled": True}, {}, {}, "it is disabled"),
        ({"supportedModelFormats": []}, {}, {}, "it lists no supportedModelFormats"),
        ({}, {"modelFormat": None}, {}, "the model has no modelFormat.name yet"),
        ({}, {"modelArchitecture": "X"}, {}, "modelArchitecture is X in the model and LlamaForCausalLM in the runtime"),
        ({}, {"modelArchitecture": None}, {}, "modelArchitecture is not set in the model and LlamaForCausalLM in"),
        ({}, {}, {"modelArchitecture": None}, "modelArchitecture is LlamaForCausalLM in the model and not set in"),
        ({}, {"quantization": "fp8"}, {}, "quantization is fp8 in the model and not set in the runtime"),
        ({}, {}, {"quantization": "fp8"}, "quantization is not set in the model and fp8 in the runtime"),
        ({}, {}, {"modelFormat": None}, "modelFormat is safetensors in the model and not set in the runtime"),
        ({}, {"modelFormat": {"name": "onnx"}}, {}, "modelFormat.name is onnx in the model and safetensors in the"),
        ({}, {"modelFormat": {"name": "safetensors"}}, {}, "modelFormat.version is not set in the model and 1.0.0 in"),
        ({}, {}, {"modelFramework": None}, "modelFramework is transformers in the model and not set in the runtime"),
        ({}, {"modelFramework": None}, {}, "modelFramework is not set in the model and transformers in the runtime"),
        ({}, {}, {"modelFramework": framework("4.52.0")}, "modelFramework.version is 4.51.0 in the model and 4.52.0"),
        ({}, {}, {"modelFramework": framework("4.51.0", operator="GreaterThan")}, "in the model and older than 4.51.0"),
        ({}, {}, {"modelFramework": framework("4.50.0", operator="GreaterThanOrEqual")}, "and at most 4.50.0 in the"),
        ({}, {"modelParameterSize": "7B"}, {}, "modelParameterSize 7B is outside its modelSizeRange, 0.5B to 2B"),
        ({"modelSizeRange": {"min": "1B"}}, {}, {}, "its modelSizeRange has only one of min and max"),
        ({}, {}, {"diffusionPipeline": {"className": "Flux"}}, "diffusionPipeline is not set in the model"),
    ],
)  # fmt: skip
def test_why_one_does_not(runtime: Part, model: Part, entry: Part, reason: str) -> None:
    (told,) = reasons(runtime, model, **entry)
    assert told.startswith(reason) or reason in told


def test_one_reason_for_each_format() -> None:
    (known,) = a_runtime("e")["spec"]["supportedModelFormats"]
    others = [{**known, "modelArchitecture": "A"}, {**known, "quantization": "int4"}]
    assert [told.split()[0] for told in reasons({"supportedModelFormats": others})] == [
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
    asked = framework(runtime, operator=operator)
    assert (reasons(model={"modelFramework": framework(model)}, modelFramework=asked) == []) is serves


def test_pipelines() -> None:
    vae = {"library": "diffusers", "type": "AutoencoderKL"}
    asked = {"className": "Flux", "vae": vae, "additionalComponents": {"guard": {"library": "x"}}}
    has = {**asked, "scheduler": {"type": "Euler"}}
    assert reasons(model={"diffusionPipeline": has}, diffusionPipeline=asked) == []
    assert reasons(model={"diffusionPipeline": has}) == [], "only what the runtime asks for counts"
    for change, told in [
        ({"className": "SD3"}, "diffusionPipeline.className is SD3 in the model and Flux in the runtime"),
        ({"vae": None}, "diffusionPipeline.vae is not set in the model"),
        ({"vae": {**vae, "type": "Other"}}, "diffusionPipeline.vae.type is Other in the model and AutoencoderKL in"),
        ({"additionalComponents": {}}, "diffusionPipeline.guard is not set in the model"),
    ]:
        (reason,) = reasons(model={"diffusionPipeline": {**has, **change}}, diffusionPipeline=asked)
        assert reason.startswith(told)


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
    """(specification of a runtime, of a model) that differ in little, so that most rules come into play."""
    model = draw(MODELS)
    alike = {key: value for key, value in model.items() if key in COMMON}
    changed = st.sampled_from(sorted(COMMON)).flatmap(lambda key: COMMON[key].map(lambda value: {**alike, key: value}))
    entries = draw(st.lists(changed.map(present), max_size=3))
    runtime = {"disabled": draw(st.sampled_from([None, None, False, True])), "modelSizeRange": draw(RANGES)}
    return present({**runtime, "supportedModelFormats": entries}), model


@given(pairs())
@example(({"supportedModelFormats": [{"modelFormat": {"name": "a"}}]}, {"modelFormat": {"name": "a"}}))
@settings(max_examples=500)
def test_two_readings_of_the_rules_agree(pair: tuple[Part, Part]) -> None:
    runtime, model = pair
    theirs = {"kind": "ClusterServingRuntime", "metadata": {"name": "r"}, "spec": runtime}
    mine = {"kind": "ClusterBaseModel", "metadata": {"name": "m"}, "spec": model}
    before = copy.deepcopy((theirs, mine))
    try:
        require(theirs, mine)
        stand_in = True
    except UnsuitableError:
        stand_in = False
    assert (why_not(OmeResource(theirs), OmeResource(mine)) == []) is stand_in
    assert (theirs, mine) == before
