"""Exports of a study that ran in pods, with the pod settings of the study."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.kubernetes.trial_objects import ServerJob
from autotuner.manifests.security import HOME
from autotuner.report.exported.options import Form, parse_options
from autotuner.report.exported.render import Manifest, manifest_of
from autotuner.report.exported.winner import winner_of
from autotuner.report.result import study_result
from autotuner.study.launch import Labels
from autotuner.study.spec import EngineSpec, Model, PluginSpec
from autotuner.testing.samples import sample_spec
from autotuner.testing.study_maker import winning_sample
from support.compose_files import compose_problems

DEPLOY: dict[str, Any] = {
    "namespace": "serving",
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "node_selector": {"disktype": "nvme"},
    "image_pull_policy": "IfNotPresent",
    "image_pull_secrets": ["registry"],
    "service_account": "sa",
    "priority_class": "high",
    "runtime_class": "nvidia",
    "cpu": "4",
    "cpu_limit": "8",
    "memory": "64Gi",
    "ephemeral_storage": "20Gi",
    "gpu_resource": "amd.com/gpu",
    "labels": {"team": "ml"},
    "annotations": {"note": "x"},
    "env_from": [{"secret": "keys"}, {"config_map": "more"}],
    "security": "restricted",
    "security_context": {"runAsUser": 1000, "fsGroup": 2000},
    "container_security_context": {"readOnlyRootFilesystem": True},
}
PLAIN = {"shm_size": "32Gi", "container_port": 9000, "model_roots": ["/models"], "kueue_queue": "q"}
OPTIONS: dict[Form, dict[str, Any]] = {
    Form.KUBERNETES: {},
    Form.COMPOSE: {},
    Form.INFERENCE_SERVICE: {"runtime": "srt", "model": "llama"},
    Form.SERVING_RUNTIME: {
        "model_format": "safetensors:1.0.0",
        "model_framework": "transformers:4.51.0",
        "architecture": "LlamaForCausalLM",
        "size_range": "0.5B-8B",
    },
}
POD = {
    "nodeSelector": {"disktype": "nvme"},
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccountName": "sa",
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "securityContext": {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 1000,
        "fsGroup": 2000,
    },
}
CONTAINER = {
    "imagePullPolicy": "IfNotPresent",
    "envFrom": [{"secretRef": {"name": "keys"}}, {"configMapRef": {"name": "more"}}],
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    },
    "resources": {
        "requests": {"cpu": "4", "memory": "64Gi", "ephemeral-storage": "20Gi", "amd.com/gpu": "2"},
        "limits": {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "20Gi", "amd.com/gpu": "2"},
    },
}


def exported(form: Form, deploy: dict[str, Any], **options: Any) -> Manifest:
    spec = sample_spec("pods", slos=()).model_copy(
        update={
            "model": Model(path="/models/chat-8b"),
            "engine": EngineSpec.model_validate({"kind": "sglang"}),
            "deploy": PluginSpec.model_validate({"kind": "kubernetes", **deploy}),
        }
    )
    sample = winning_sample(spec, {"tp-size": 2}, gpus=2)
    result = study_result(sample.spec, sample.state, sample.trials)
    winner = winner_of(result, spec.model, settings=KubernetesSettings.model_validate(deploy))
    found = manifest_of(winner, form, parse_options(form, {**OPTIONS[form], **options}))
    assert form is not Form.COMPOSE or compose_problems(found.text) == []
    return found


def parts(form: Form, found: Manifest) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(pod, container, metadata of the pod) in what is exported."""
    thing = found.objects[0]
    if form is Form.KUBERNETES:
        template = thing["spec"]["template"]
        return template["spec"], template["spec"]["containers"][0], template["metadata"]
    if form is Form.INFERENCE_SERVICE:
        return thing["spec"]["engine"], thing["spec"]["engine"]["runner"], thing["metadata"]
    config = thing["spec"]["engineConfig"]
    return config, config["runner"], config


@pytest.mark.parametrize("form", [Form.KUBERNETES, Form.INFERENCE_SERVICE, Form.SERVING_RUNTIME])
def test_every_pod_setting_is_carried_over(form: Form) -> None:
    found = exported(form, {**DEPLOY, **PLAIN})
    pod, container, metadata = parts(form, found)
    assert {name: pod.get(name) for name in POD} == POD
    assert {name: container.get(name) for name in CONTAINER} == CONTAINER
    assert DEPLOY["tolerations"][0] in pod["tolerations"]
    assert metadata["labels"]["team"] == "ml"
    assert metadata["annotations"]["note"] == "x"
    assert HOME in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"name": "HOME", "value": HOME} in container["env"]


@pytest.mark.parametrize("form", list(OPTIONS))
def test_nothing_is_carried_over_from_a_study_without_pods(form: Form) -> None:
    text = exported(form, {}).text
    assert "securityContext" not in text
    assert HOME not in text


def test_deployment_equals_the_measured_pod() -> None:
    """Built from the same functions: what the deployer gives a pod, the export gives it too."""
    found = exported(Form.KUBERNETES, {**DEPLOY, **PLAIN})
    pod, container, _ = parts(Form.KUBERNETES, found)
    settings = KubernetesSettings.model_validate({**DEPLOY, **PLAIN})
    plan = found.winner.plan.model_copy(update={"gpus": 2})
    measured = ServerJob(plan, settings, "i:1", "n", Labels(study="s", trial=0, owner="o")).job()["spec"]["template"][
        "spec"
    ]
    inner = measured["containers"][0]
    for name in (*POD, "tolerations", "automountServiceAccountToken", "enableServiceLinks"):
        assert pod[name] == measured[name], name
    for name in (*CONTAINER, "ports"):
        assert container[name] == inner[name], name
    paths = [{(m["mountPath"], m.get("readOnly")) for m in one["volumeMounts"]} for one in (container, inner)]
    assert paths[0] == paths[1]
    assert container["ports"][0]["containerPort"] == 9000
    assert found.objects[0]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "q"
    assert any("Kueue queue q" in note for note in found.notes)


def test_options_take_precedence() -> None:
    found = exported(Form.KUBERNETES, {**DEPLOY, **PLAIN}, port=7000, namespace="other")
    pod, container, _ = parts(Form.KUBERNETES, found)
    assert container["ports"][0]["containerPort"] == 7000
    assert found.objects[0]["metadata"]["namespace"] == "other"
    assert pod["serviceAccountName"] == "sa"


def test_study_labels_do_not_break_the_selector() -> None:
    found = exported(Form.KUBERNETES, {"labels": {"app.kubernetes.io/name": "theirs"}})
    deployment, service = found.objects
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector.items() <= labels.items()


def test_compose_service_has_every_setting_that_compose_supports() -> None:
    found = exported(Form.COMPOSE, {**DEPLOY, **PLAIN})
    (service,) = YAML(typ="safe").load(found.text)["services"].values()
    assert service["shm_size"] == 32 * 2**30
    assert service["mem_limit"] == 64 * 2**30
    assert service["cpus"] == 8
    assert service["user"] == "1000"
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["labels"]["team"] == "ml"
    assert service["ports"] == ["127.0.0.1:9000:9000"]
    notes = " ".join(found.notes)
    assert "deploy.tolerations" in notes
    assert "keys, more" in notes


def test_existing_runtime_keeps_its_settings() -> None:
    own = {"key": "own", "operator": "Exists"}
    runner = {
        "name": "ome-container",
        "command": ["python3", "-m", "sglang.launch_server", "--model-path", "$(MODEL_PATH)"],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        "volumeMounts": [{"name": "x", "mountPath": "/x"}],
    }
    config = {"tolerations": [own], "nodeSelector": {"a": "b"}, "volumes": [{"name": "x"}], "runner": runner}
    runtime = {"kind": "ClusterServingRuntime", "metadata": {"name": "base"}, "spec": {"engineConfig": config}}
    made = manifest_of(
        exported(Form.KUBERNETES, DEPLOY).winner,
        Form.SERVING_RUNTIME,
        parse_options(Form.SERVING_RUNTIME, {"start_from": str(runtime)}),
    )
    pod, container, _ = parts(Form.SERVING_RUNTIME, made)
    assert pod["tolerations"] == [own, *DEPLOY["tolerations"]]
    assert pod["nodeSelector"] == {"a": "b", "disktype": "nvme"}
    assert container["resources"] == CONTAINER["resources"]
    assert container["volumeMounts"][0] == {"name": "x", "mountPath": "/x"}
