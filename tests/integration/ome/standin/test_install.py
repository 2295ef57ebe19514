"""Behavior of the stand-in on a cluster with running pods, as observed of a live OME."""

import json
from typing import Any

import pytest

from support.labs.cluster import OwnCluster
from support.ome_standin import OmeStandIn
from support.ome_standin.lab import ARGS, LABEL, SERVER, Lab, eventually
from support.ome_standin.sample_objects import MODEL, RUNTIME, model, runtime

pytestmark = pytest.mark.cluster

BLANK = '{"rope_scaling": {"factor": 2}}'
STUBBORN = {"command": ["python3", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]}


def names(lab: Lab, kind: str) -> set[str]:
    return {thing["metadata"]["name"] for thing in lab.all(kind)}


def reasons(lab: Lab, uid: str) -> dict[str, str]:
    return {event["reason"]: event["type"] for event in lab.events(uid)}


def failed_repeatedly(ome: OmeStandIn, lab: Lab, name: str) -> bool:
    """Whether the controller has failed to reconcile the service several times: missing objects will not be created."""
    return ome.log.count(f"InferenceService {lab.namespace}/{name}: Reconciler error") > 2


def test_healthy_service(lab: Lab, ome: OmeStandIn, ome_cluster: OwnCluster) -> None:
    args = [*ARGS, "--json-model-override-args", BLANK, "--enable-metrics"]
    uid = lab.created(lab.service("good", args=args))
    eventually(lambda: lab.ready("good"), "ready")
    [pod] = lab.pods("good")
    program = "import sys; sys.stdout.write(open('/proc/1/cmdline').read())"
    cmdline = ome_cluster.kubectl("exec", "-n", lab.namespace, pod["metadata"]["name"], "--", "python3", "-c", program)
    expanded = [ome.settings.model_path if word == "$(MODEL_PATH)" else word for word in args]
    assert cmdline.rstrip("\0").split("\0") == [*SERVER, *expanded]
    assert {"good-engine"} == names(lab, "Deployment") == names(lab, "PodDisruptionBudget")
    assert names(lab, "Service") == {"good", "good-engine"}
    assert names(lab, "ConfigMap") == {"kube-root-ca.crt", "modelconfig-good"}
    assert not names(lab, "HorizontalPodAutoscaler")
    assert (
        pod["metadata"]["labels"].items()
        >= {
            "autotuner/trial": "7",
            LABEL: "good",
            "component": "engine",
            "app": "good-engine",
            "serving-runtime": RUNTIME,
            "base-model-name": MODEL,
        }.items()
    )
    seen = reasons(lab, uid)
    alarms = {"UpdateFailed", "InternalError", "InferenceServiceNotReady"}
    assert {reason for reason, kind in seen.items() if kind == "Warning"} == alarms
    assert seen["InferenceServiceReady"] == "Normal"
    status = lab.get("InferenceService", "good")["status"]
    assert status["url"] == f"http://good.{lab.namespace}.svc.cluster.local:8080"
    assert status["components"]["engine"]["url"] == f"http://good-engine.{lab.namespace}.svc.cluster.local"
    assert lab.condition("good", "IngressReady") == ("True", "IngressDisabled")
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"


def test_missing_model_is_rejected(lab: Lab) -> None:
    service = lab.service("lost", model={"name": "nope", "kind": "ClusterBaseModel"})
    answer = lab.post(service)
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'admission webhook "inferenceservice.ome-webhook-server.validator" denied the request: referenced model "nope" '
        f'not found in namespace "{lab.namespace}": ensure a BaseModel exists in this namespace or a ClusterBaseModel '
        "exists cluster-wide with this name"
    )
    assert lab.post(service, dryRun="All").status_code == 403


def test_missing_runtime_is_only_an_event(lab: Lab, ome: OmeStandIn) -> None:
    uid = lab.created(lab.service("lost", runtime={"name": "nope", "kind": "ClusterServingRuntime"}))
    event = eventually(lambda: lab.event(uid, "RuntimeValidationError"))
    assert event["message"] == (
        f"Runtime nope does not support model {MODEL}: runtime nope not found in namespace {lab.namespace} or at "
        "cluster scope"
    )
    assert (event["type"], event["source"]["component"]) == ("Warning", "v1beta1Controllers")
    eventually(lambda: failed_repeatedly(ome, lab, "lost"))
    assert "status" not in lab.get("InferenceService", "lost")
    assert lab.event(uid, "RuntimeValidationError")["count"] > 1  # type: ignore[index]


def test_faults_without_event_or_status(lab: Lab, ome: OmeStandIn) -> None:
    nameless = lab.service("nameless")
    del nameless["spec"]["engine"]["runner"]["name"]
    unequal = {"resources": {"requests": {"nvidia.com/gpu": "2"}}}
    labeled = lab.service("labeled")
    labeled["spec"]["engine"]["labels"] = {"note": "not a label's value"}
    own = model(ome.settings.model_path, name="own-model")
    lab.created({**own, "kind": "BaseModel", "metadata": {"name": "own-model", "namespace": lab.namespace}})
    silent = [
        nameless,
        lab.service("template", args=[*ARGS, "--chat-template", "{{x}}"]),
        lab.service("unequal", runner=unequal),
        labeled,
        lab.service("kindless", model={"name": "own-model"}),
    ]
    eventually(lambda: lab.post(silent[-1], dryRun="All").status_code == 201, "the webhook's cache has the model")
    uids = {service["metadata"]["name"]: lab.created(service) for service in silent}
    for name, uid in uids.items():
        eventually(lambda name=name: failed_repeatedly(ome, lab, name), name)  # type: ignore[misc]
        assert lab.events(uid) == [], name
        assert "status" not in lab.get("InferenceService", name), name
    assert not names(lab, "Deployment")


def test_status_after_an_invalid_flag(lab: Lab) -> None:
    lab.created(lab.service("flag", args=[*ARGS, "--no-such-flag", "1"]))
    lab.created(lab.service("memory", args=[*ARGS, "--mem-fraction-static", "0.02"]))
    for name, code, line in (
        ("flag", 2, "unrecognized arguments: --no-such-flag"),
        ("memory", 247, "Received sigquit from a child process"),
    ):
        eventually(lambda name=name: lab.state(name).get("restartCount", 0) >= 1, name)  # type: ignore[misc]
        state = lab.state(name)
        ended = state["state"].get("terminated") or state["lastState"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("Error", code)
        assert line in ended["message"]
        assert lab.condition(name, "EngineReady") == ("False", "Initializing")
        status = lab.get("InferenceService", name)["status"]["modelStatus"]
        assert (status["transitionStatus"], status["modelRevisionStates"]["targetModelState"]) == (
            "InProgress",
            "Pending",
        )
    check_last_failure(lab)


def check_last_failure(lab: Lab) -> None:
    """A change of the service triggers a look at the pod during its back-off; the failure then stays in the status."""
    eventually(lambda: "CrashLoopBackOff" in json.dumps(lab.state("flag").get("state", {})), "back-off")
    change: dict[str, Any] = {"metadata": {"annotations": {"ome.io/service-type": "ClusterIP"}}}
    lab.patch("InferenceService", "flag", {"spec": {"engine": {"maxReplicas": 2}}}).raise_for_status()

    def model_status() -> dict[str, Any]:
        return dict(lab.get("InferenceService", "flag").get("status", {}).get("modelStatus", {}))

    eventually(lambda: model_status().get("transitionStatus") == "BlockedByFailedLoad")
    failure = model_status()["lastFailureInfo"]
    assert (failure["reason"], failure["exitCode"]) == ("ModelLoadFailed", 2)
    corrected = lab.service("flag")["spec"]["engine"]["runner"]
    lab.patch("InferenceService", "flag", {**change, "spec": {"engine": {"runner": corrected}}}).raise_for_status()
    eventually(lambda: lab.ready("flag"))
    assert model_status()["transitionStatus"] == "UpToDate"
    assert model_status()["lastFailureInfo"]["exitCode"] == 2


def test_more_gpus_than_available(lab: Lab) -> None:
    eight = {"nvidia.com/gpu": "8"}
    lab.created(lab.service("large", runner={"resources": {"requests": eight, "limits": eight}}))

    def unschedulable() -> str:
        conditions = [c for pod in lab.pods("large") for c in pod["status"].get("conditions", [])]
        return "".join(c["message"] for c in conditions if c.get("reason") == "Unschedulable")

    assert "Insufficient nvidia.com/gpu" in eventually(unschedulable)
    eventually(lambda: lab.condition("large", "EngineReady") == ("False", "Initializing"))


def test_names_and_fields(lab: Lab) -> None:
    long = "a-name-of-just-28-characters"
    assert lab.post(lab.service(long)).status_code == 201
    assert lab.post(lab.service("Capital")).status_code == 422
    digit = lab.post(lab.service("1st"))
    assert digit.status_code == 403
    assert 'invalid InferenceService name "1st", must match "[a-z]([-a-z0-9]*[a-z0-9])?"' in digit.text.replace(
        "\\", ""
    )
    stray = lab.service("stray")
    stray["spec"]["engine"]["resources"] = {"limits": {}}
    strict = lab.post(stray)
    assert strict.status_code == 400
    assert 'unknown field "spec.engine.resources"' in strict.text.replace("\\", "")
    pruned = lab.post(stray, fieldValidation="Ignore")
    assert pruned.status_code == 201
    assert "resources" not in pruned.json()["spec"]["engine"]
    assert lab.post(lab.service("number", runner={"env": [{"name": "N", "value": 1}]})).status_code == 422
    eventually(lambda: names(lab, "ConfigMap") >= {f"modelconfig-{long[-20:]}"})


def test_defaults_add_an_autoscaler(lab: Lab) -> None:
    service = lab.service("grows")
    service["metadata"]["annotations"] = {}
    service["spec"]["engine"] = {"runner": {"name": "ome-container"}}
    assert lab.created(service)
    engine = lab.get("InferenceService", "grows")["spec"]["engine"]
    assert (engine["minReplicas"], engine["maxReplicas"]) == (1, 3)
    eventually(lambda: names(lab, "HorizontalPodAutoscaler"))
    scaler = lab.get("HorizontalPodAutoscaler", "grows-engine")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 3)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    deployment = lab.get("Deployment", "grows-engine")["spec"]
    assert deployment["strategy"]["rollingUpdate"]["maxSurge"] == 1
    command = deployment["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--mem-frac") + 1] == "0.9", "fields that the service does not set are the runtime's"


def test_deletion_in_foreground_and_background(lab: Lab) -> None:
    """With background deletion the pod, and so its GPU, outlives the service."""
    ways = {"fore": "Foreground", "back": "Background"}
    for name in ways:
        service = lab.service(name, runner={**STUBBORN, "args": [], "readinessProbe": None, "startupProbe": None})
        service["spec"]["engine"]["terminationGracePeriodSeconds"] = 2
        lab.created(service)
    for name in ways:
        eventually(lambda name=name: lab.state(name).get("state", {}).get("running"))  # type: ignore[misc]
    for name, propagation in ways.items():
        lab.delete("InferenceService", name, propagation)
    eventually(lambda: not lab.get("InferenceService", "back"))
    assert lab.pods("back")
    eventually(lambda: not lab.get("InferenceService", "fore"))
    assert not lab.pods("fore")
    eventually(lambda: not lab.pods("back"))


def test_service_without_its_model_cannot_be_removed(lab: Lab, ome: OmeStandIn) -> None:
    lab.created(model(ome.settings.model_path, name=f"gone-{lab.namespace}"))
    name = {"name": f"gone-{lab.namespace}", "kind": "ClusterBaseModel"}
    eventually(lambda: lab.post(lab.service("stuck", model=name), dryRun="All").status_code == 201)
    lab.created(lab.service("stuck", model=name))
    eventually(lambda: lab.get("InferenceService", "stuck")["metadata"].get("finalizers"))
    lab.delete("ClusterBaseModel", name["name"])
    eventually(lambda: not lab.get("ClusterBaseModel", name["name"]))
    eventually(lambda: lab.post(lab.service("other", model=name), dryRun="All").status_code == 403)
    lab.delete("InferenceService", "stuck")
    eventually(lambda: failed_repeatedly(ome, lab, "stuck"))
    meta = lab.get("InferenceService", "stuck")["metadata"]
    assert meta["deletionTimestamp"]
    assert meta["finalizers"] == ["inferenceservice.finalizers"]
    lab.created(model(ome.settings.model_path, name=name["name"]))
    eventually(lambda: not lab.get("InferenceService", "stuck"), "it is removed once the model exists again")
    lab.delete("ClusterBaseModel", name["name"])


def test_deployment_modes_without_a_deployment(lab: Lab) -> None:
    virtual = lab.service("virtual")
    virtual["metadata"]["annotations"]["ome.io/deploymentMode"] = "VirtualDeployment"
    lab.created(virtual)
    spread = lab.service("spread")
    runner = spread["spec"]["engine"].pop("runner")
    spread["spec"]["engine"] |= {"leader": {"runner": runner}, "worker": {"size": 1, "runner": runner}}
    lab.created(spread)
    zero = lab.service("zero")
    zero["spec"]["engine"]["minReplicas"] = 0
    lab.created(zero)
    engineless = lab.service("engineless")
    del engineless["spec"]["engine"]
    uid = lab.created(engineless)
    eventually(lambda: lab.ready("virtual"))
    eventually(lambda: lab.condition("spread", "EngineReady") == ("False", "Initializing"))
    assert lab.get("Service", "spread-engine")["spec"]["selector"] == {"ray.io/node-type": "head"}
    event = eventually(lambda: lab.event(uid, "DeploymentModeError"))
    assert event["message"] == "engine component is required"
    assert not names(lab, "Deployment")
    assert "status" not in lab.get("InferenceService", "zero")


def test_decoder_does_not_affect_readiness(lab: Lab) -> None:
    """The service is ready although its decoder never is."""
    own = runtime("lmsysorg/sglang:v0.5.23", name="apart")
    own |= {"kind": "ServingRuntime", "metadata": {"name": "apart", "namespace": lab.namespace}}
    engine = own["spec"]["engineConfig"]
    own["spec"]["decoderConfig"] = {**engine, "runner": {**engine["runner"], "image": "nowhere/none:1"}}
    lab.created(own)
    lab.created(lab.service("apart", runtime={"name": "apart"}, decoder={}))
    found = lab.get("InferenceService", "apart")
    assert found["metadata"]["annotations"]["ome.io/deploymentMode"] == "PDDisaggregated"
    eventually(lambda: lab.ready("apart"))
    assert lab.condition("apart", "DecoderReady") == ("False", "Initializing")
    assert names(lab, "Deployment") == {"apart-engine", "apart-decoder"}
    refused = lab.post(lab.service("half", engine=None, decoder={}))
    assert "decoder cannot be specified without engine" in refused.text


def test_unsuitable_runtime_is_admitted(lab: Lab) -> None:
    for name, spec in (("off", {"disabled": True}), ("small", {"modelSizeRange": {"min": "0.5B", "max": "0.7B"}})):
        thing = runtime("lmsysorg/sglang:v0.5.23", name=name, **spec)
        lab.created({**thing, "kind": "ServingRuntime", "metadata": {"name": name, "namespace": lab.namespace}})
    messages = {}
    for name in ("off", "small"):
        uid = lab.created(lab.service(f"with-{name}", runtime={"name": name, "kind": "ServingRuntime"}))
        messages[name] = eventually(lambda uid=uid: lab.event(uid, "RuntimeValidationError"))["message"]  # type: ignore[misc]
    refused = "Runtime {} does not support model sim-model: "
    assert messages["off"] == refused.format("off") + "namespace-scoped runtime off is disabled"
    assert messages["small"].endswith("model size 1B is outside supported range [500M, 700M]")
