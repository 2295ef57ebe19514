"""Pods refused at admission: what refuses them, whether it is final, and the settings that the remedy names."""

import re

import pytest

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
