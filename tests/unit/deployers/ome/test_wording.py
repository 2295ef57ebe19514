"""User-visible wordings of the OME deployer: checks of installation, models and runtimes, failures, benchmark."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from syrupy.assertion import SnapshotAssertion

from autotuner.deployers.ome import benchmark_job, check_installation, check_model, check_runtime
from autotuner.deployers.ome.benchmark_manifest import BenchmarkSettings
from autotuner.deployers.ome.resources import BENCHMARKS, OmeResource
from autotuner.deployers.ome.runtime_matching import why_not
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause
from support.ome_standin.sample_objects import model, runtime

Object = dict[str, Any]
GPU = "nvidia.com/gpu"
LABEL = "models.ome.io/clusterbasemodel.m"
CRASHED = {"containerStatuses": [{"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}}]}
SHAPE = "starting\nFatal: couldn't find shape  in the shape mapping\ngoroutine 1 [running]:\nmain.main()\n"


def config(**data: Any) -> Object:
    return {"data": {key: value if isinstance(value, str) else json.dumps(value) for key, value in data.items()}}


def agent_set(ready: int, wanted: int = 2, **requests: str) -> Object:
    pod = {"spec": {"containers": [{"resources": {"requests": requests}}]}}
    return {"spec": {"template": pod}, "status": {"numberReady": ready, "desiredNumberScheduled": wanted}}


def agent_pod(name: str = "p", **status: Any) -> Object:
    return {"metadata": {"name": name}, "status": status}


def of_the_installation() -> list[Check]:
    kinds = [{"name": kind} for kind in (*check_installation.KINDS, BENCHMARKS)]
    unready = {"metadata": {"name": "cert-manager-cainjector"}}
    spec = {"replicas": 3, "template": {"spec": {"containers": [{"image": "ome-manager:v0.1.5"}]}}}
    held = {"kind": "BenchmarkJob", "metadata": {"name": "b", "deletionTimestamp": "x", "finalizers": ["f"]}}
    stands = {"kind": "InferenceService", "metadata": {"name": "at-1"}}
    pending = agent_pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "1 Insufficient cpu."}])
    waiting = [{"image": "i:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    causes = ("connection refused", "x509: expired", "deadline exceeded", "unexpected EOF")
    look = check_installation
    return [
        look.served(None),
        look.served({"resources": kinds[1:]}),
        look.served({"resources": kinds[:-1]}),
        look.served({"resources": kinds}),
        look.manager(None, "ome"),
        look.manager({"spec": spec}, "ome"),
        *(look.webhook(f'failed calling webhook "w": Post "https://x": {cause}', "ome") for cause in causes),
        look.certificates(None, []),
        look.certificates({}, [unready]),
        look.certificates({}, []),
        look.configuration(None),
        look.configuration(config(ingress={"disableIngressCreation": True})),
        look.configuration(config(ingress={})),
        look.benchmark_image(None),
        look.benchmark_image(config(benchmarkjob={"image": "i:1"})),
        *look.agent(None, [], {}, needed=True),
        *look.agent(agent_set(1), [], {}, needed=True),
        *look.agent(agent_set(2), [], {}, needed=True),
        *look.agent(agent_set(1), [agent_pod(**CRASHED)], {"p": SHAPE}, needed=True),
        *look.agent(agent_set(1), [agent_pod(**CRASHED)], {}, needed=True),
        *look.agent(agent_set(0, cpu="10"), [pending], {}, needed=True),
        *look.agent(agent_set(0, cpu="1"), [pending], {}, needed=True),
        *look.left_behind([], {}),
        *look.left_behind([held, stands], {}),
        *look.left_behind([held], {"b": "its model is gone"}),
        *look.benchmark_pods([agent_pod(containerStatuses=waiting)]),
    ]


def of_models() -> list[Check]:
    holder = {"metadata": {"name": "a", "labels": {LABEL: "Ready"}}}
    other = {"metadata": {"name": "b", "labels": {}}}
    states: list[tuple[Object, Object]] = [
        ({"state": "Ready"}, holder),
        ({"state": "Ready", "nodesFailed": ["b"]}, holder),
        ({"state": "Ready"}, other),
        ({"state": "In_Transit"}, holder),
        ({"state": "In_Transit"}, other),
        ({"state": "Failed", "nodesFailed": ["b"]}, other),
        ({}, other),
    ]
    found = []
    for status, node in states:
        one = OmeResource({**model("/m", name="m"), "status": status})
        found += check_model.checks(one, [node], {"b": "Updating, 25% of 2.0 GB"})
    faults: list[Object] = [
        {"disabled": True},
        {"storage": {"storageUri": "hf://a/b"}},
        {"storage": {"storageUri": "pvc://c/d", "path": "/m"}},
        {"vendor": "a b"},
    ]
    for spec in faults:
        found += check_model.checks(OmeResource(model("/m", name="m", **spec)), [], {})[:1]
    found += check_model.checks(OmeResource(model("/m", name="qwen2.5")), [], {})[:1]
    return [
        *found,
        check_model.absent("m", "ns", ["mm"], []),
        check_model.absent("m", "ns", [], ["other"]),
        check_model.absent("m", "ns", [], []),
        check_model.overview([]),
        check_model.overview([model("/m", name="m")]),
    ]


def of_runtimes() -> list[Check]:
    runners: list[Object] = [
        {"name": "main"},
        {"name": ""},
        {"command": ["sh", "-c", "serve"]},
        {"command": [], "args": []},
        {"command": ["serve", 8]},
        {"args": ["--disaggregation-mode=decode"]},
        {"args": ["{{ .Values.x }}"]},
        {"resources": {"requests": {"rdma/x": "2"}, "limits": {"rdma/x": "1"}}},
        {"resources": {"requests": {"rdma/x": "2"}}},
    ]
    found = []
    for runner in runners:
        made = runtime("engine:1")
        made["spec"]["engineConfig"]["runner"].update(runner)
        found += check_runtime.checks(OmeResource(made), None, GPU)
    changes: list[Object] = [
        {"engineConfig": {}},
        {"engineConfig": {"leader": {"runner": {}}}},
        {"decoderConfig": {"runner": {}}},
        {"acceleratorRequirements": {"acceleratorClasses": ["h100"]}},
    ]
    for change in changes:
        found += check_runtime.checks(OmeResource(runtime("engine:1", **change)), None, GPU)
    return [
        *found,
        check_runtime.absent("rt", "ns", ["rtt"], [], []),
        check_runtime.absent("rt", "ns", [], ["good"], ["other"]),
        check_runtime.absent("rt", "ns", [], [], []),
        check_runtime.absent(None, "ns", [], ["good"], []),
        check_runtime.absent(None, "ns", [], [], []),
        check_runtime.overview([]),
    ]


@pytest.mark.parametrize("checks", [of_the_installation, of_models, of_runtimes])
def test_checks(checks: Callable[[], list[Check]], snapshot: SnapshotAssertion) -> None:
    assert [f"{check.status}: {check.name}: {check.detail} -> {check.remedy}" for check in checks()] == snapshot


def test_runtimes_that_do_not_serve_a_model(snapshot: SnapshotAssertion) -> None:
    newer = {"name": "transformers", "version": "4.52.0", "operator": "GreaterThanOrEqual"}
    pairs: list[tuple[Object, Object]] = [
        ({"disabled": True}, {}),
        ({"supportedModelFormats": []}, {}),
        ({}, {"modelFormat": None}),
        ({}, {"modelArchitecture": "X"}),
        ({}, {"quantization": "fp8"}),
        ({}, {"modelFormat": {"name": "onnx"}}),
        ({}, {"modelFramework": None}),
        ({}, {"modelFramework": {**newer, "version": "4.53.0"}}),
        ({}, {"modelParameterSize": "7B"}),
        ({"modelSizeRange": {"min": "1B"}}, {}),
    ]
    found = []
    for of_runtime, of_model in pairs:
        spec = {key: value for key, value in model("/m", **of_model)["spec"].items() if value is not None}
        found += why_not(OmeResource(runtime("engine:1", **of_runtime)), OmeResource({**model("/m"), "spec": spec}))
    assert found == snapshot


@pytest.mark.parametrize("path", ["usr/local", "/results", "../other"])
def test_benchmark_folders(path: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(ValidationError) as caught:
        BenchmarkSettings.model_validate({"sub_path": path})
    [message] = [error["msg"] for error in caught.value.errors(include_url=False) if error["loc"] == ("sub_path",)]
    assert message == snapshot


@pytest.mark.parametrize(
    "cause", [FailureCause.NOT_ACCEPTED, FailureCause.IMAGE_MISSING, FailureCause.GPU_UNAVAILABLE], ids=str
)
def test_benchmark_pods_that_cannot_start(cause: FailureCause, snapshot: SnapshotAssertion) -> None:
    found = benchmark_job._never_ran(Failure(cause=cause, message="REASON", remedy="REMEDY"), None)
    assert [found.cause.value, found.message, found.remedy] == snapshot
