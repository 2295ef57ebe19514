"""Pods refused at admission: what refuses them, whether it is final, and the settings that the remedy names."""

import re
from typing import Any

import pytest

from autotuner.deployers.kubernetes.checks import resource_limits
from autotuner.deployers.kubernetes.checks.admission import PodRequest, _refusal_check, changes, pod_of, proxies_in
from autotuner.deployers.kubernetes.pods.status import events_trouble, not_started
from autotuner.deployers.kubernetes.refusals import LOADGEN, judge, missing_right
from autotuner.study.failure import FATAL

FORBIDDEN = 'Error creating: pods "at-x-0-abc-de" is forbidden: '
CONTEXT = (
    'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "server" must set '
    'securityContext.allowPrivilegeEscalation=false), runAsNonRoot != true (pod or container "server" must set '
    "securityContext.runAsNonRoot=true)"
)
HOST_PATH = 'violates PodSecurity "baseline:latest": hostPath volumes (volume "models-0")'
POLICY = "ValidatingAdmissionPolicy 'need-team' with binding 'need-team' denied request: label team is required"
POLICY_SETTINGS = ["labels", "annotations", "security"]


def named_settings(remedy: str) -> list[str]:
    """Returns the settings under ``deploy`` that a remedy names, in its order."""
    return re.findall(r"\bdeploy\.(\w+)", remedy)


@pytest.mark.parametrize(
    ("why", "who", "settings"),
    [
        (CONTEXT, "restricted:latest", ["security", "security_context"]),
        (HOST_PATH, "baseline:latest", ["pvc", "model_roots"]),
        (
            "unable to validate against any security context constraint: [provider ...",
            "SecurityContextConstraints",
            ["security", "service_account"],
        ),
        (
            "failed quota: few: must specify limits.cpu for: server; memory for: server",
            "ResourceQuota few",
            ["cpu_limit", "memory"],
        ),
        ("maximum memory usage per Container is 256Mi, but limit is 512Mi", "LimitRange", ["memory"]),
        ("maximum cpu usage per Container is 1.  No limit is specified", "LimitRange", ["cpu_limit"]),
        ("minimum cpu usage per Pod is 2, but request is 1", "LimitRange", ["cpu"]),
        ("memory max limit to request ratio per Container is 1, but provided ratio is 4", "LimitRange", ["memory"]),
        (POLICY, "need-team", POLICY_SETTINGS),
        (
            'admission webhook "validate.kyverno.svc" denied the request: no',
            "validate.kyverno.svc",
            POLICY_SETTINGS,
        ),
        ('error looking up service account ns/sa: serviceaccount "sa" not found', "API server", ["service_account"]),
        ("no PriorityClass with name high was found", "API server", ["priority_class"]),
        ('pod rejected: RuntimeClass "nvidia" not found', "API server", ["runtime_class"]),
    ],
)
def test_final_refusals(why: str, who: str, settings: list[str]) -> None:
    refused = judge(FORBIDDEN + why)
    assert refused.final
    assert who in refused.who
    assert named_settings(refused.remedy) == settings
    assert refused.message.endswith(" ".join(why.split())), "ends with the API server's message"


def test_every_violation_of_pod_security_has_a_remedy() -> None:
    volumes = 'restricted volume types (volume "models-0" uses restricted volume type "hostPath")'
    refused = judge(f"{FORBIDDEN}{CONTEXT}, {volumes}")
    assert [named_settings(remedy) for remedy in refused.remedies] == [
        ["security", "security_context"],
        ["pvc", "model_roots"],
    ]
    assert all(remedy in refused.remedy for remedy in refused.remedies)


@pytest.mark.parametrize(
    ("why", "setting"),
    [
        ("failed quota: q: must specify limits.cpu for: loadgen", "loadgen_cpu_limit"),
        ("maximum memory usage per Container is 1Gi, but limit is 2Gi", "loadgen_memory"),
        ('serviceaccount "sa" not found', "loadgen_service_account"),
        ('pod rejected: RuntimeClass "nvidia" not found', "runtime_class"),
    ],
)
def test_settings_of_the_load_generator(why: str, setting: str) -> None:
    assert named_settings(judge(why, LOADGEN).remedy) == [setting]


@pytest.mark.parametrize(
    "why",
    [
        'Internal error occurred: failed calling webhook "x": context deadline exceeded',
        f"{FORBIDDEN}status unknown for quota: q, resources: requests.cpu",
        f'{FORBIDDEN}error looking up service account ns/default: serviceaccount "default" not found',
        "etcdserver: request timed out",
        "some unknown text",
    ],
)
def test_transient_refusals(why: str) -> None:
    assert not judge(why).final
    trouble = events_trouble([{"reason": "FailedCreate", "message": why}])
    assert trouble is not None
    assert trouble.transient


def test_final_refusal_ends_the_study() -> None:
    trouble = events_trouble([{"reason": "FailedCreate", "message": FORBIDDEN + CONTEXT}], "server")
    assert trouble is not None
    assert not trouble.transient
    assert not trouble.queued
    assert trouble.failure.cause in FATAL


def test_root_image_needs_a_user() -> None:
    failure = not_started("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
    assert failure.cause in FATAL
    assert named_settings(failure.remedy) == ["security_context"]
    assert "runAsUser" in failure.remedy


def test_missing_permission() -> None:
    why = 'pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "n"'
    assert missing_right(why) == "create pods"
    assert missing_right(FORBIDDEN + CONTEXT) == ""


def container(**resources: Any) -> dict[str, Any]:
    return {"name": "server", "resources": resources}


def limit_range(**item: Any) -> dict[str, Any]:
    return {"metadata": {"name": "lr"}, "spec": {"limits": [{"type": "Container", **item}]}}


@pytest.mark.parametrize(
    ("item", "resources", "parts"),
    [
        ({"max": {"memory": "256Mi"}}, {"limits": {"memory": "512Mi"}}, ["maximum memory"]),
        ({"max": {"memory": "1Gi"}}, {"limits": {"memory": "512Mi"}}, []),
        ({"max": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, ["No limit is specified"]),
        ({"max": {"cpu": "1"}, "default": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, []),
        ({"min": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, ["minimum cpu"]),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}, ["ratio is 4"]),
        ({"max": {"cpu": "4"}, "type": "Pod"}, {"limits": {"cpu": "8"}}, ["per Pod is 4"]),
    ],
)
def test_limit_ranges_without_a_dry_run(item: Any, resources: Any, parts: list[str]) -> None:
    """``parts`` of Kubernetes' own messages, which the rules repeat."""
    reasons = [why for _, why in resource_limits.problems([limit_range(**item)], [container(**resources)])]
    assert len(reasons) == len(parts)
    assert all(part in why for part, why in zip(parts, reasons, strict=True))


def test_quotas_that_require_a_resource() -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"limits.cpu": "9", "memory": "9Gi", "pods": "3"}}}
    scoped = {"metadata": {"name": "s"}, "spec": {"hard": {"limits.cpu": "9"}, "scopes": ["BestEffort"]}}
    pods = [container(requests={"memory": "1Gi"})]
    assert list(resource_limits.unnamed([quota, scoped], [], pods)) == [("q", "limits.cpu")]
    assert list(resource_limits.unnamed([quota], [limit_range(default={"cpu": "1"})], pods)) == []


REQUEST = PodRequest("server", "server", {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container()]}})


def test_changes_by_admission() -> None:
    limited = container(limits={"cpu": "500m"}) | {"env": [{"name": "HTTP_PROXY", "value": "http://p"}]}
    pod = {"spec": {"containers": [limited, {"name": "istio-proxy"}], "initContainers": [{"name": "linkerd-proxy"}]}}
    checks = changes(REQUEST, pod)
    assert [(check.name, check.status.value) for check in checks] == [("proxy", "warn")] * 3 + [("limits", "warn")]
    for name, check in zip(("istio-proxy", "linkerd-proxy", "HTTP_PROXY", "500m"), checks, strict=True):
        assert name in check.detail
    assert named_settings(checks[-1].remedy) == ["cpu_limit"]
    assert changes(REQUEST, REQUEST.pod) == []
    assert proxies_in(pod) == ["istio-proxy", "linkerd-proxy"]


def test_dry_run_pod_has_the_owner_and_labels_of_its_job() -> None:
    """Policies against bare pods would refuse it otherwise, although they accept the Job's pod."""
    pod = pod_of(PodRequest("server", "server", REQUEST.pod, "/jobs", {"kind": "Job", "metadata": {"name": "at-x"}}))
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Job", "at-x", True)
    assert pod["metadata"]["labels"]["a"] == "b"
    assert pod["metadata"]["labels"]["job-name"] == "at-x"


@pytest.mark.parametrize(
    ("why", "status"),
    [
        (FORBIDDEN + CONTEXT, "fail"),
        ('admission webhook "x" does not support dry run', "warn"),
        (FORBIDDEN + "exceeded quota: q, requested: cpu=1, used: cpu=3, limited: cpu=3", "warn"),
        (FORBIDDEN + "exceeded quota: q, requested: cpu=4, used: cpu=0, limited: cpu=3", "fail"),
    ],
)
def test_refused_dry_runs(why: str, status: str) -> None:
    """A webhook with side effects may accept the real object, and other users may free their share of a quota."""
    assert _refusal_check(REQUEST, why).status.value == status
