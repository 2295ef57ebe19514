"""Dry runs of pods: what is sent, what admission changes, and which refusals are final."""

import re

import pytest

from autotuner.deployers.kubernetes.checks.admission import PodRequest, _refusal_check, changes, pod_of, proxies_in

FORBIDDEN = 'Error creating: pods "at-x-0-abc-de" is forbidden: '
CONTEXT = 'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod must set runAsNonRoot=true)'
REQUEST = PodRequest(
    "server", "server", {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "server"}]}}
)


def test_changes_by_admission() -> None:
    limited = {
        "name": "server",
        "resources": {"limits": {"cpu": "500m"}},
        "env": [{"name": "HTTP_PROXY", "value": "http://p"}],
    }
    pod = {"spec": {"containers": [limited, {"name": "istio-proxy"}], "initContainers": [{"name": "linkerd-proxy"}]}}
    checks = changes(REQUEST, pod)
    assert [(check.name, check.status.value) for check in checks] == [("proxy", "warn")] * 3 + [("limits", "warn")]
    for name, check in zip(("istio-proxy", "linkerd-proxy", "HTTP_PROXY", "500m"), checks, strict=True):
        assert name in check.detail
    assert re.findall(r"\bdeploy\.(\w+)", checks[-1].remedy) == ["cpu_limit"]
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
