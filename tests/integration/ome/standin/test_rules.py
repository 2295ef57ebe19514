"""Rules of the stand-in without a cluster: merging, templates, matching, admission, status, benchmark."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.testing.mock_openai import Behavior, Fault, mock_openai
from support.ome_standin import fake_genai_bench
from support.ome_standin.agent import outcome, state_of
from support.ome_standin.benchmark import arguments
from support.ome_standin.kube import Object
from support.ome_standin.rules.admission import (
    Catalog,
    DeniedError,
    check_benchmark,
    check_runtime,
    check_service,
    default_service,
)
from support.ome_standin.rules.matching import UnsuitableError, require, select, size_of, size_text
from support.ome_standin.rules.merging import TemplateError, accelerated, component, inject_model, model_label, rendered
from support.ome_standin.rules.status import compute, same
from support.ome_standin.rules.workloads import NoSuchKindError, Resolved, label, mode, model_config, scaler, workload
from support.ome_standin.sample_objects import model, runtime

META = {"name": "x", "namespace": "ns", "uid": "u", "labels": {"trial": "7"}}
MODEL = model("/models/sim")
SHM = "/dev/shm"  # noqa: S108 - of the container
RUNTIME = runtime("engine:1")
SUPPORTED = RUNTIME["spec"]["supportedModelFormats"][0]


def service(**spec: Any) -> Object:
    made = {"model": {"name": "sim-model"}, "runtime": {"name": "srt-sim-model"}, "engine": {}, **spec}
    thing = {"kind": "InferenceService", "metadata": dict(META), "spec": made}
    default_service(thing)
    return thing


def resolved(**engine: Any) -> tuple[Resolved, Object]:
    one = Resolved(service(engine=engine), MODEL, RUNTIME)
    return one, one.merged("engine") or {}


def catalog(*runtimes: Object, models: tuple[Object, ...] = (MODEL,)) -> Catalog:
    def by_key(things: Any) -> dict[tuple[str, str], Object]:
        return {(t["metadata"].get("namespace", ""), t["metadata"]["name"]): t for t in things}

    return Catalog(by_key(models), by_key(runtimes), frozenset())


def test_argument_lists_are_replaced_and_other_fields_merged() -> None:
    base = RUNTIME["spec"]["engineConfig"]["runner"]
    own = {
        "name": "ome-container",
        "args": ["--tp", "2"],
        "env": [{"name": "A", "value": "1"}],
        "ports": [{"containerPort": 9, "name": "metrics"}],
        "volumeMounts": [{"mountPath": SHM, "name": "other"}],
        "resources": {"limits": {"cpu": "4"}},
        "readinessProbe": {"periodSeconds": 5},
    }
    runner = (component(RUNTIME, service(engine={"runner": own}), "engine") or {})["runner"]
    assert runner["command"] == base["command"], "the runtime's, since the service sets none"
    assert runner["args"] == ["--tp", "2"]
    assert [port["containerPort"] for port in runner["ports"]] == [8080, 9]
    assert runner["volumeMounts"] == [{"mountPath": SHM, "name": "other"}]
    assert runner["resources"]["limits"] == {**base["resources"]["limits"], "cpu": "4"}
    assert runner["resources"]["requests"] == base["resources"]["requests"]
    assert runner["readinessProbe"] == {**base["readinessProbe"], "periodSeconds": 5}
    again = (component(RUNTIME, service(engine={"runner": {**own, "command": ["serve"]}}), "engine") or {})["runner"]
    assert again["command"] == ["serve"]
    with_args = runtime("e:1")
    with_args["spec"]["engineConfig"]["runner"]["args"] = ["--model-path", "/m"]
    replaced = (component(with_args, service(engine={"runner": own}), "engine") or {})["runner"]
    assert replaced["args"] == ["--tp", "2"], "replaced, not appended"
    nameless = component(RUNTIME, service(engine={"runner": {"args": []}}), "engine") or {}
    assert nameless["runner"]["name"] == ""
    assert component(RUNTIME, service(), "decoder") is None, "a component needs a section of the service"


@given(st.lists(st.text().filter(lambda word: "{{" not in word)))
def test_arguments_without_a_template_are_unchanged(args: list[str]) -> None:
    assert rendered({"args": args}, META) == {"args": args}


def test_templates() -> None:
    container = rendered(
        {"args": ["{{.Name}}.{{ .Namespace }}", "{{.Labels.trial}}", "$(MODEL_PATH)", '{"a": {"b": 1}}']}, META
    )
    assert container["args"] == ["x.ns", "7", "$(MODEL_PATH)", '{"a": {"b": 1}}']
    with pytest.raises(TemplateError, match=r"\{\{x\}\}"):
        rendered({"args": ["{{x}}"]}, META)
    with pytest.raises(TemplateError):
        rendered({"env": [{"name": "T", "value": "{% if a %}{{ messages }}"}]}, META)


def test_model_is_injected_into_the_pod() -> None:
    pod: Object = {}
    container: Object = {}
    inject_model(pod, container, MODEL)
    assert pod["nodeSelector"] == {"models.ome.io/clusterbasemodel.sim-model": "Ready"}
    assert pod["volumes"] == [{"name": "sim-model", "hostPath": {"path": "/models/sim"}}]
    assert container["volumeMounts"] == [{"name": "sim-model", "mountPath": "/models/sim", "readOnly": True}]
    assert container["env"] == [{"name": "MODEL_PATH", "value": "/models/sim"}]
    container = {"env": [{"name": "MODEL_PATH", "value": "/mine"}]}
    inject_model({}, container, MODEL)
    assert container["env"] == [{"name": "MODEL_PATH", "value": "/mine"}]
    own = {"metadata": {"name": "m", "namespace": "ns"}}
    assert model_label(own) == "models.ome.io/ns.basemodel.m"
    long = {"metadata": {"name": "m" * 40}}
    assert len(model_label(long)) == len("models.ome.io/clusterbasemodel.") + 32


def test_accelerator_class_takes_precedence() -> None:
    container = {"args": ["--tp-size", "8", "--tp", "8", "--flag", "--log", "a", "--log", "b"]}
    overrides = {"tensorParallelismOverride": {"tensorParallelSize": 2}, "environmentOverride": {"E": "1"}}
    made = accelerated(container, overrides)
    assert made["args"] == ["--tp-size", "2", "--tp", "8", "--flag", "--log", "b"]
    assert made["env"] == [{"name": "E", "value": "1"}]


def test_matching() -> None:
    require(RUNTIME, MODEL)
    cases: dict[str, tuple[Object, Object]] = {
        "cluster-scoped runtime srt-sim-model is disabled": ({"disabled": True}, {}),
        "runtime srt-sim-model does not support model safetensors: model format 'mt:safetensors:1.0.0:Other' not in "
        "supported formats: architecture mismatch (model=Other, runtime=LlamaForCausalLM)": (
            {},
            {"modelArchitecture": "Other"},
        ),
        "model size 7B is outside supported range [500M, 2B]": ({}, {"modelParameterSize": "7B"}),
        "invalid model specification: modelFormat.name: model format name is required": ({}, {"modelFormat": {}}),
        "quantization mismatch (model=fp8, runtime=)": ({}, {"quantization": "fp8"}),
        "model framework mismatch": ({}, {"modelFramework": {"name": "transformers", "version": "4.52.0"}}),
        "model framework mismatch (model=transformers:x, runtime=transformers:x)": (
            {"supportedModelFormats": [{**SUPPORTED, "modelFramework": {"name": "transformers", "version": "x"}}]},
            {"modelFramework": {"name": "transformers", "version": "x"}},
        ),
    }
    for reason, (of_runtime, of_model) in cases.items():
        with pytest.raises(UnsuitableError) as caught:
            require(runtime("e:1", **of_runtime), model("/m", **of_model))
        assert reason in str(caught.value)
    with pytest.raises(UnsuitableError, match="does not support the required accelerator class"):
        require(RUNTIME, MODEL, "h100")
    assert (size_of("0.5B"), size_text(size_of("0.5B")), size_text(7e9)) == (5e8, "500M", "7B")


def supporting(name: str, namespace: str = "", **entry: Any) -> Object:
    [known] = RUNTIME["spec"]["supportedModelFormats"]
    made = runtime("e:1", name=name, supportedModelFormats=[{**known, "autoSelect": True, **entry}])
    return {**made, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}


def test_automatic_selection() -> None:
    with pytest.raises(UnsuitableError, match="srt-sim-model does not have auto-select enabled"):
        select([RUNTIME], MODEL)
    assert select([supporting("a"), supporting("b", priority=2)], MODEL)["metadata"]["name"] == "b"
    assert (
        select([supporting("b"), supporting("a", priority=9), supporting("c", "ns")], MODEL)["metadata"]["name"] == "c"
    )
    newer = {"modelFramework": {"name": "transformers", "version": "4.60.0", "operator": "GreaterThanOrEqual"}}
    assert select([supporting("a", **newer)], MODEL), "the runtime's version is greater"
    newer["modelFramework"]["version"] = "4.60.0.dev0"
    with pytest.raises(UnsuitableError, match="model framework mismatch"):
        select([supporting("a", **newer)], MODEL)


def rejection(thing: Object, known: Catalog) -> str:
    with pytest.raises(DeniedError) as caught:
        check_service(thing, known)
    return str(caught.value)


def test_rejected_services() -> None:
    known = catalog(RUNTIME)
    check_service(service(runtime={"name": "nope"}), known)
    bare = service()
    del bare["spec"]["runtime"]
    assert rejection(bare, known).startswith(
        "no supporting runtime found for model sim-model and engine does not have complete runner configuration: "
    )
    off = catalog(RUNTIME, models=(model("/m", disabled=True),))
    assert rejection(bare, off) == "model sim-model is disabled"
    check_service(service(), off)
    bare["spec"]["engine"]["runner"] = {"image": "mine:1"}
    check_service(bare, known)
    scaled = service()
    scaled["metadata"]["annotations"] = {"ome.io/autoscalerClass": "own"}
    assert rejection(scaled, known) == "[own] is not a supported autoscaler class type"
    empty: Object = {"metadata": dict(META), "spec": {"engine": {}}}
    assert "model reference is required when runtime is not specified" in rejection(empty, known)


def test_runtimes_with_the_same_priority() -> None:
    other = supporting("other", priority=1)
    with pytest.raises(
        DeniedError, match="same priority assigned for the model format safetensors in the servingruntimes"
    ):
        check_runtime(supporting("one", priority=1), catalog(other))
    check_runtime(supporting("one", priority=1, autoSelect=False), catalog(other))
    classes = runtime("e:1", acceleratorRequirements={"acceleratorClasses": ["h100", "a10"]})
    with pytest.raises(DeniedError, match=r"referenced in AcceleratorRequirements: \[h100 a10\]"):
        check_runtime(classes, catalog())


@pytest.mark.parametrize(
    ("task", "scenario", "good"),
    [
        ("text-to-text", "D(100,100)", True), ("text-to-text", "N(1,2)/(3,4)", True), ("text-to-text", "U(1,2)", True),
        ("text-to-text", "E(64)", False), ("text-to-embeddings", "E(64)", False),
        ("text-to-embeddings", "E(64,1)", True),
        ("text-to-text", "dataset", False), ("text-to-text", "D(1,2)anything", True),
    ],
)  # fmt: skip
def test_scenarios(task: str, scenario: str, good: bool) -> None:
    spec = {
        "endpoint": {"inferenceService": {"name": "x"}},
        "task": task,
        "trafficScenarios": [scenario],
        "outputLocation": {"storageUri": "pvc://c/out"},
    }
    if good:
        check_benchmark({"spec": spec})
    else:
        with pytest.raises(DeniedError, match="invalid scenario format for task"):
            check_benchmark({"spec": spec})


def test_deployments() -> None:
    one, engine = resolved(runner={"name": "ome-container"}, labels={"team": "a"})
    made = workload(one, "engine", engine, engine["runner"])
    assert "replicas" not in made["spec"]
    assert made["spec"]["template"]["metadata"]["labels"]["team"] == "a"
    assert made["metadata"]["ownerReferences"][0]["blockOwnerDeletion"]
    assert (scaler(one, "engine", engine) or {})["spec"]["maxReplicas"] == 3
    assert len(label("a" * 80)) == 63
    assert mode({"minReplicas": 0}) == "Serverless"
    assert mode({"minReplicas": 0, "worker": {}}) == "MultiNode"
    with pytest.raises(NoSuchKindError):
        model_config(Resolved(service(model={"name": "sim-model", "kind": "BaseModel"}), MODEL, RUNTIME))


def deployment(*, available: bool) -> Object:
    condition = {"type": "Available", "status": str(available)}
    return {"metadata": {}, "status": {"conditions": [condition], "observedGeneration": 5}}


def pod(state: Object, last: Object | None = None) -> Object:
    status = {"name": "ome-container", "state": state, "lastState": last or {}}
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": [status]}}


def test_status() -> None:
    first = compute(service(), {"engine": deployment(available=False)}, [], ingress=False)
    reasons = {c["type"]: (c["status"], c.get("reason")) for c in first["conditions"]}
    assert reasons == {
        "EngineReady": ("False", "Initializing"),
        "IngressReady": ("True", "IngressDisabled"),
        "Ready": ("Unknown", None),
    }
    assert first["url"] == "http://x.ns.svc.cluster.local:8080", "set before the server responds"
    assert first["observedGeneration"] == 5, "the Deployment's, not the service's"
    oom = pod({"terminated": {"reason": "OOMKilled", "exitCode": 137}})
    later = {**service(), "status": first}
    second = compute(later, {"engine": deployment(available=False)}, [oom], ingress=False)
    assert second["modelStatus"]["modelRevisionStates"]["targetModelState"] == "Pending"
    ready = [c for c in second["conditions"] if c["type"] == "Ready"]
    assert (ready[0]["status"], ready[0]["reason"]) == ("False", "Initializing")
    waiting = pod({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"reason": "Error", "exitCode": 3}})
    third = compute(later, {"engine": deployment(available=False)}, [waiting], ingress=False)
    assert third["modelStatus"]["lastFailureInfo"]["exitCode"] == 3
    recovered = compute({**service(), "status": third}, {"engine": deployment(available=True)}, [], ingress=False)
    assert recovered["modelStatus"]["lastFailureInfo"]["exitCode"] == 3
    assert recovered["modelStatus"]["transitionStatus"] == "UpToDate"
    spread = compute(later, {"engine": deployment(available=True)}, [], ingress=False, many_nodes=True)
    assert spread["modelStatus"]["transitionStatus"] == "InProgress"
    assert same(third, json.loads(json.dumps(third).replace(third["conditions"][0]["lastTransitionTime"], "later")))
    assert not same(third, recovered)


def test_models_on_nodes(tmp_path: Path) -> None:
    assert outcome(model(str(tmp_path)), "done") == "Ready"
    assert outcome(model("/no/such"), "done") == "Failed"
    assert outcome(model("/m", storage={"storageUri": "hf://o/m"}), "in_transit") == "Updating"
    assert state_of({"a": "Failed", "b": "Ready"})["state"] == "Ready"
    assert state_of({"a": "Failed", "b": "Updating"})["state"] == "Failed"
    assert state_of({})["state"] == "In_Transit"


def test_arguments_of_a_plain_url() -> None:
    spec = {
        "task": "text-to-text",
        "maxTimePerIteration": 1,
        "maxRequestsPerIteration": 2,
        "resultFolderName": "f",
        "outputLocation": {"storageUri": "oci://n/space/b/bucket/o/prefix"},
    }
    args = arguments({"spec": spec}, "http://h", None, "name")
    assert "--api-key" not in args
    assert "--model-tokenizer" not in args
    assert args[-7:] == [
        "--upload-results",
        "--namespace",
        "space",
        "--storage-bucket",
        "bucket",
        "--storage-prefix",
        "prefix",
    ]


@pytest.mark.anyio
async def test_fake_benchmark(tmp_path: Path) -> None:
    """Against a server that logs its requests and answers every second one with an error."""
    behavior = Behavior(ttft_s=0.02, itl_s=0.002, fault=Fault.STATUS, fault_when=lambda number: number % 2 == 1)
    async with mock_openai(behavior) as server:
        args = [
            "benchmark",
            "--api-backend",
            "openai",
            "--api-base",
            server.url,
            "--api-model-name",
            "m",
            "--task",
            "text-to-text",
            "--max-time-per-run",
            "1",
            "--max-requests-per-run",
            "8",
            "--api-key",
            "k",
            "--model-tokenizer",
            str(tmp_path),
            "--traffic-scenario",
            "D(16,5)",
            "--num-concurrency",
            "2",
            "--experiment-folder-name",
            "f",
            "--experiment-base-dir",
            str(tmp_path),
        ]
        done = await anyio.run_process([sys.executable, fake_genai_bench.__file__, *args])
    assert done.returncode == 0
    [file] = (tmp_path / "f").glob("D16_5_text-to-text_num_concurrency_2_time_*s.json")
    result = json.loads(file.read_text())
    assert len(server.log) == 8
    assert result["aggregated_metrics"]["num_requests"] == 8
    seconds = result["aggregated_metrics"]["run_duration"]
    assert result["aggregated_metrics"]["mean_output_throughput_tokens_per_s"] == pytest.approx(20 / seconds)
    assert result["aggregated_metrics"]["error_codes_frequency"] == {"500": 4}
    figures = [(one["num_output_tokens"], one["ttft"] >= 0.02) for one in result["individual_request_metrics"]]
    assert figures == [(5, True)] * 4
