"""Settings of a study in the pods of server and load generator."""

from typing import Any

import pytest

from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.kubernetes.trial_objects import Load, ServerJob
from autotuner.manifests.pod import NO_SIDECAR_ANNOTATIONS, NO_SIDECAR_LABELS
from autotuner.manifests.security import HOME
from autotuner.study.launch import Labels, LaunchPlan

LABELS = Labels(study="s", trial=1, owner="o")
SETTINGS: dict[str, Any] = {
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "labels": {"team": "ml"},
    "annotations": {"note": "x"},
    "image_pull_secrets": ["registry"],
    "image_pull_policy": "Never",
    "service_account": "sa",
    "priority_class": "high",
    "security_context": {"runAsUser": 1000},
    "container_security_context": {"readOnlyRootFilesystem": True},
}


def pods(**settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The templates of the server's and of the load generator's pod."""
    parsed = KubernetesSettings.model_validate(settings)
    server = ServerJob(LaunchPlan(command=("serve",), model="m"), parsed, "i:1", "at-x", LABELS).job()
    load = Load("some.module", parsed, "at-l", LABELS, None).job(["spec"], "i:1")
    return server["spec"]["template"], load["spec"]["template"]


def test_load_generator_inherits_the_servers_settings() -> None:
    server, load = pods(**SETTINGS)
    for name in ("imagePullSecrets", "serviceAccountName", "priorityClassName", "securityContext"):
        assert load["spec"][name] == server["spec"][name] != {}, name
    for name in ("imagePullPolicy", "securityContext"):
        assert load["spec"]["containers"][0][name] == server["spec"]["containers"][0][name] != {}, name
    assert SETTINGS["tolerations"][0] in load["spec"]["tolerations"]
    for template in (server, load):
        assert template["metadata"]["labels"]["team"] == "ml"
        assert template["metadata"]["annotations"]["note"] == "x"


def test_loadgen_settings_do_not_affect_the_server() -> None:
    server, load = pods(
        **SETTINGS,
        node_selector={"gpu": "yes"},
        env_from=[{"secret": "s"}],
        loadgen_tolerations=[],
        loadgen_labels={"team": "qa"},
        loadgen_annotations={},
        loadgen_service_account="other",
        loadgen_priority_class="low",
        loadgen_security_context={"runAsUser": 2000},
        loadgen_container_security_context={},
        loadgen_cpu_limit="2",
        loadgen_node_selector={"cpu": "yes"},
    )
    spec = load["spec"]
    assert "tolerations" not in spec
    assert load["metadata"]["labels"]["team"] == "qa"
    assert "note" not in load["metadata"]["annotations"]
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("other", "low")
    assert spec["securityContext"] == {"runAsUser": 2000}
    assert "securityContext" not in spec["containers"][0]
    assert spec["containers"][0]["resources"]["limits"]["cpu"] == "2"
    assert spec["nodeSelector"] == {"cpu": "yes"}
    assert "envFrom" not in spec["containers"][0], "the server's Secrets are not the load generator's"
    assert server["metadata"]["labels"]["team"] == "ml"
    assert server["spec"]["nodeSelector"] == {"gpu": "yes"}


def test_service_mesh_is_kept_out_unless_the_study_enables_it() -> None:
    for template in pods():
        assert NO_SIDECAR_LABELS.items() <= template["metadata"]["labels"].items()
        assert NO_SIDECAR_ANNOTATIONS.items() <= template["metadata"]["annotations"].items()
    for template in pods(labels={"sidecar.istio.io/inject": "true"}, annotations={"linkerd.io/inject": "enabled"}):
        assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
        assert template["metadata"]["annotations"]["linkerd.io/inject"] == "enabled"
    for setting in ("labels", "annotations"):
        for template in pods(**{setting: {"sidecar.istio.io/inject": "true"}}):
            for field in ("labels", "annotations"):
                assert template["metadata"][field]["sidecar.istio.io/inject"] == "true"


def test_restricted_preset() -> None:
    for template in pods(security="restricted"):
        spec = template["spec"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = spec["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "runAsUser" not in str(spec), "OpenShift assigns a user id to each namespace"
        mounts = {m["mountPath"] for m in container["volumeMounts"]}
        assert {"/tmp", HOME} <= mounts  # noqa: S108 - of the container
        assert {"name": "HOME", "value": HOME} in container["env"]


def test_fields_of_the_study_override_the_preset() -> None:
    server, _ = pods(security="restricted", security_context={"runAsUser": 1000, "seccompProfile": {"type": "X"}})
    assert server["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "X"},
        "runAsUser": 1000,
    }


@pytest.mark.parametrize("settings", [{}, {"security_context": {"fsGroup": 5}}, {"security_context": {"runAsUser": 0}}])
def test_root_keeps_its_home(settings: dict[str, Any]) -> None:
    for template in pods(**settings):
        assert HOME not in str(template)
