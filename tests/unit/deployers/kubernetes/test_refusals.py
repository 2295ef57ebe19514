"""Pods that are refused at admission: who refuses them, whether waiting helps, and which setting cures it."""

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
FOLDER = 'violates PodSecurity "baseline:latest": hostPath volumes (volume "models-0")'
POLICY = "ValidatingAdmissionPolicy 'need-team' with binding 'need-team' denied request: label team is required"


@pytest.mark.parametrize(
    ("why", "who", "remedy"),
    [
        (CONTEXT, "Pod Security (restricted:latest)", "deploy.security: restricted"),
        (FOLDER, "Pod Security (baseline:latest)", "deploy.pvc"),
        ("unable to validate against any security context constraint: [provider ...", "OpenShift", "deploy.security"),
        (
            "failed quota: few: must specify limits.cpu for: server; memory for: server",
            "few",
            "deploy.cpu_limit and de",
        ),
        ("maximum memory usage per Container is 256Mi, but limit is 512Mi", "LimitRange", "deploy.memory"),
        ("maximum cpu usage per Container is 1.  No limit is specified", "LimitRange", "deploy.cpu_limit"),
        ("minimum cpu usage per Pod is 2, but request is 1", "LimitRange", "deploy.cpu "),
        (
            "memory max limit to request ratio per Container is 1, but provided ratio is 4",
            "LimitRange",
            "deploy.memory",
        ),
        (POLICY, "admission policy need-team", "deploy.labels"),
        ('admission webhook "validate.kyverno.svc" denied the request: no', "validate.kyverno.svc", "deploy.labels"),
        ('error looking up service account ns/sa: serviceaccount "sa" not found', "API", "deploy.service_account"),
        ("no PriorityClass with name high was found", "API", "deploy.priority_class"),
        ('pod rejected: RuntimeClass "nvidia" not found', "API", "deploy.runtime_class"),
    ],
)
def test_each_kind_has_its_own_remedy(why: str, who: str, remedy: str) -> None:
    refused = judge(FORBIDDEN + why)
    assert refused.final
    assert who in refused.who
    assert remedy in refused.remedy
    assert why.split(":")[0].split()[-1] in refused.message, "the API server's words"


def test_the_load_generators_settings_are_its_own() -> None:
    assert (
        judge("failed quota: q: must specify limits.cpu for: loadgen", LOADGEN).remedy == "set deploy.loadgen_cpu_limit"
    )
    assert (
        "deploy.loadgen_memory" in judge("maximum memory usage per Container is 1Gi, but limit is 2Gi", LOADGEN).remedy
    )
    assert "loadgen_service_account" in judge('serviceaccount "sa" not found', LOADGEN).remedy


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
def test_what_passes_by_itself_is_waited_for(why: str) -> None:
    assert not judge(why).final
    trouble = events_trouble([{"reason": "FailedCreate", "message": why}])
    assert trouble is not None
    assert trouble.transient


def test_a_refusal_ends_the_study_at_once() -> None:
    trouble = events_trouble([{"reason": "FailedCreate", "message": FORBIDDEN + CONTEXT}], "server")
    assert trouble is not None
    assert not trouble.transient
    assert not trouble.queued
    assert trouble.failure.cause in FATAL


def test_an_image_that_runs_as_root_wants_a_user() -> None:
    failure = not_started("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
    assert failure.cause in FATAL
    assert "runAsUser" in failure.remedy


def test_missing_permission_and_policy_differ() -> None:
    why = 'pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "n"'
    assert missing_right(why) == "create pods"
    assert missing_right(FORBIDDEN + CONTEXT) == ""


def container(**resources: Any) -> dict[str, Any]:
    return {"name": "server", "resources": resources}


def limit_range(**item: Any) -> dict[str, Any]:
    return {"metadata": {"name": "lr"}, "spec": {"limits": [{"type": "Container", **item}]}}


@pytest.mark.parametrize(
    ("item", "resources", "told"),
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
def test_limit_ranges_where_no_pod_may_be_tried(item: Any, resources: Any, told: list[str]) -> None:
    found = [why for _, why in resource_limits.problems([limit_range(**item)], [container(**resources)])]
    assert len(found) == len(told)
    assert all(part in why for part, why in zip(told, found, strict=True))


def test_quotas_that_want_a_resource_to_be_named() -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"limits.cpu": "9", "memory": "9Gi", "pods": "3"}}}
    scoped = {"metadata": {"name": "s"}, "spec": {"hard": {"limits.cpu": "9"}, "scopes": ["BestEffort"]}}
    pods = [container(requests={"memory": "1Gi"})]
    assert list(resource_limits.unnamed([quota, scoped], [], pods)) == [("q", "limits.cpu")]
    assert list(resource_limits.unnamed([quota], [limit_range(default={"cpu": "1"})], pods)) == []


REQUEST = PodRequest("server", "server", {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container()]}})


def test_changes_of_a_pod_by_admission() -> None:
    limited = container(limits={"cpu": "500m"}) | {"env": [{"name": "HTTP_PROXY", "value": "http://p"}]}
    pod = {"spec": {"containers": [limited, {"name": "istio-proxy"}], "initContainers": [{"name": "linkerd-proxy"}]}}
    told = [(check.name, check.status.value) for check in changes(REQUEST, pod)]
    assert told == [("proxy", "warn")] * 3 + [("limits", "warn")]
    assert "deploy.cpu_limit" in changes(REQUEST, pod)[-1].remedy
    assert changes(REQUEST, REQUEST.pod) == []
    assert proxies_in(pod) == ["istio-proxy", "linkerd-proxy"]


def test_a_tried_pod_has_an_owner_and_its_jobs_labels() -> None:
    """Policies against bare pods would refuse it otherwise, though they take the Job's."""
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
def test_what_a_dry_run_cannot_tell_is_no_failure(why: str, status: str) -> None:
    """A webhook with side effects may take the real object; others may give back what they hold of a quota."""
    assert _refusal_check(REQUEST, why).status.value == status
