"""Checks of the OME installation, from JSON of the API server."""

import json
from typing import Any

import pytest

from autotuner.deployers.ome import check_installation
from autotuner.deployers.ome.resources import BENCHMARKS
from autotuner.study.check import Check, CheckStatus

OK = CheckStatus.OK
WARN = CheckStatus.WARN
FAIL = CheckStatus.FAIL
Object = dict[str, Any]


def the_only(checks: list[Check]) -> Check:
    (found,) = checks
    return found


def test_served_kinds() -> None:
    kinds = [*check_installation.KINDS, BENCHMARKS]
    resources = [{"name": name} for kind in kinds for name in (kind, f"{kind}/status")]
    assert check_installation.served({"resources": resources}).detail == "ome.io/v1beta1, 6 kinds"
    assert check_installation.served(None).status is FAIL
    incomplete = check_installation.served({"resources": resources[2:]})
    assert (incomplete.status, "inferenceservices" in incomplete.detail) == (FAIL, True)
    assert check_installation.served({"resources": resources[:-2]}).status is WARN


@pytest.mark.parametrize(
    ("image", "ready", "detail"),
    [
        ("ghcr.io:443/x/ome-manager:v0.1.4", 1, "v0.1.4, 1 of 3 ready"),
        ("registry:5000/ome-manager", 3, "no tag, 3 of 3 ready"),
        ("ome-manager:v1.2.2@sha256:abc", 3, "v1.2.2, 3 of 3 ready"),
        ("ome-manager:v0.1.5", None, "v0.1.5, 0 of 3 ready"),
    ],
)
def test_manager(image: str, ready: int | None, detail: str) -> None:
    spec = {"replicas": 3, "template": {"spec": {"containers": [{"image": image}]}}}
    found = check_installation.manager({"spec": spec, "status": {"readyReplicas": ready}}, "ome")
    assert (found.detail.partition(":")[0], found.status) == (detail, OK if ready else FAIL)
    assert "ome_namespace" in check_installation.manager(None, "ome").remedy


@pytest.mark.parametrize(
    ("cause", "like"),
    [
        ("dial tcp 10.0.0.7:443: connect: connection refused", "connection refused"),
        ('no endpoints available for service "ome-webhook-server-service"', "connection refused"),
        ('service "ome-webhook-server-service" not found', "connection refused"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "x509"),
        ("tls: failed to verify certificate: x509: certificate has expired", "x509"),
        ("context deadline exceeded", "timeout"),
        ("net/http: request canceled (Client.Timeout exceeded while awaiting headers)", "timeout"),
        ("unexpected EOF", "anything else"),
    ],
)
def test_webhooks(cause: str, like: str) -> None:
    """Each message of the API server belongs to one kind of fault, with its own explanation and remedy."""
    post = f'Post "https://ome-webhook-server-service.ome.svc:443/mutate?timeout=10s": {cause}'
    message = (
        f'Internal error occurred: failed calling webhook "isvc.ome-webhook.defaulter": failed to call webhook: {post}'
    )
    found = check_installation.webhook(f"no answer from the Kubernetes API server: {message}", "ome-system")
    assert found.status is FAIL
    why, _, rest = found.detail.partition(": ")
    assert rest == f"isvc.ome-webhook.defaulter: {cause}"
    kinds = ("connection refused", "x509", "timeout", "anything else")
    examples = {kind: check_installation.webhook(f'failed calling webhook "w": {kind}', "ome-system") for kind in kinds}
    assert len({check.detail.partition(":")[0] for check in examples.values()}) == len(kinds)
    assert (why, found.remedy) == (examples[like].detail.partition(":")[0], examples[like].remedy)
    assert "ome-system" in found.remedy


def test_certificates() -> None:
    ready = {"metadata": {"name": "cert-manager"}, "status": {"readyReplicas": 1}}
    unready = {"metadata": {"name": "cert-manager-cainjector"}}
    assert check_installation.certificates(None, []).status is FAIL
    failed = check_installation.certificates({}, [ready, unready])
    assert failed.status is FAIL
    assert failed.detail.endswith(": cert-manager-cainjector")
    assert check_installation.certificates({}, [ready]).status is WARN


def config(**data: Any) -> Object:
    return {"data": {key: value if isinstance(value, str) else json.dumps(value) for key, value in data.items()}}


def test_configuration() -> None:
    check = check_installation.configuration
    assert check(config(ingress={"disableIngressCreation": True, "ingressDomain": "a.b"})).status is OK
    assert check(config(ingress={"ingressDomain": "a.b"})).detail.endswith(" a.b")
    assert [check(c).status for c in (None, config(), config(ingress="{"), config(ingress="3"))] == [WARN] * 4
    image = check_installation.benchmark_image
    for section in ({"podConfig": {"image": "genai:1"}}, {"image": "genai:1"}):
        assert image(config(benchmarkjob=section)).detail.startswith("genai:1, unless")
    assert image(None).status is WARN


def agent_set(ready: int, wanted: int = 2, **requests: str) -> Object:
    pod = {"spec": {"containers": [{"resources": {"requests": requests}}]}}
    return {"spec": {"template": pod}, "status": {"numberReady": ready, "desiredNumberScheduled": wanted}}


def agent_pod(name: str = "p", **status: Any) -> Object:
    return {"metadata": {"name": name}, "status": status}


CRASHED = {"containerStatuses": [{"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}}]}
SHAPE = "starting\nFatal: couldn't find shape  in the shape mapping\ngoroutine 1 [running]:\nmain.main()\n"


def test_agent() -> None:
    look = check_installation.agent
    assert the_only(look(agent_set(2), [agent_pod()], {}, needed=True)).detail == "2 of 2 pods ready"
    assert the_only(look(None, [], {}, needed=True)).status is FAIL
    assert the_only(look(agent_set(1), [], {}, needed=False)).status is WARN
    shape = the_only(look(agent_set(1), [agent_pod(**CRASHED)], {"p": SHAPE}, needed=True))
    assert shape.detail.startswith("p ")
    assert shape.detail.endswith(": Fatal: couldn't find shape  in the shape mapping")
    assert "instance-type=BM.GPU.H100.8" in shape.remedy
    assert "v0.1.3" in shape.remedy
    other = the_only(look(agent_set(1), [agent_pod(**CRASHED)], {"p": "a\nnil pointer\n"}, needed=False))
    assert other.status is WARN
    assert other.detail.endswith(": nil pointer")
    assert the_only(look(agent_set(1), [agent_pod(**CRASHED)], {}, needed=True)).status is FAIL


def test_agent_that_cannot_be_scheduled() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    pending = agent_pod(conditions=[condition])
    for requests, too_large in (({"cpu": "10", "memory": "100Gi"}, True), ({"cpu": "1"}, False)):
        found = the_only(check_installation.agent(agent_set(0, **requests), [pending], {}, needed=True))
        assert "Insufficient cpu" in found.detail
        assert ("requests.cpu=500m" in found.remedy) is too_large
        assert found.remedy


def test_crashing_pods() -> None:
    assert check_installation.crashes(agent_pod(**CRASHED))
    ended = {"containerStatuses": [{"state": {"terminated": {"exitCode": 2}}}]}
    assert check_installation.crashes(agent_pod(**ended))
    again = {"containerStatuses": [{**CRASHED["containerStatuses"][0], "ready": True}]}
    for healthy in (again, {"containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}, {}):
        assert not check_installation.crashes(agent_pod(**healthy))
    leaving = agent_pod(**CRASHED)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not check_installation.crashes(leaving)


def test_leftovers() -> None:
    look = check_installation.left_behind
    assert the_only(look([], {})).status is OK
    things = [{"kind": "InferenceService", "metadata": {"name": f"at-{i}"}} for i in range(7)]
    assert the_only(look(things, {})).detail.startswith("7 ")
    assert ": InferenceService at-0, " in the_only(look(things, {})).detail
    assert the_only(look(things, {})).detail.endswith("and 2 more")
    held = {
        "kind": "BenchmarkJob",
        "metadata": {"name": "b", "deletionTimestamp": "x", "finalizers": ["benchmarkjob.f"]},
    }
    found = look([held, things[0]], {"b": "its model is gone"})
    assert found[0].detail.startswith("BenchmarkJob b ")
    assert found[0].detail.endswith(" (benchmarkjob.f): its model is gone")
    assert "reap" in found[1].remedy


def test_benchmark_pods() -> None:
    waiting = [{"image": "i:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    (check,) = check_installation.benchmark_pods(
        [agent_pod(containerStatuses=waiting), agent_pod(**CRASHED), agent_pod()]
    )
    assert check.status is WARN
    assert check.detail.startswith("p ")
    assert check.detail.endswith(" i:1 (ImagePullBackOff)")
