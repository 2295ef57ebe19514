"""Pods that admission refuses: predicted by the preflight, final in a trial, accepted with the remedy."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

import autotuner
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FATAL, Failure, TrialFailedError
from autotuner.study.trial import TrialState
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan, telling_plan
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from support.kube_lab import needs_its_own_tmp
from support.ome_standin.lab import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

ENFORCE = "pod-security.kubernetes.io/enforce"
RESTRICTED = {"security": "restricted", "security_context": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}}
"""With a user id, since the test images define no user."""
POLICIES = "/apis/admissionregistration.k8s.io/v1"

MakeNamespace = Callable[..., str]


@pytest.fixture
def namespace(kube: Any) -> Iterator[MakeNamespace]:
    """Creates namespaces with labels, and objects in them; all are deleted after the test."""
    created = list[str]()
    names = list[str]()

    def create(labels: dict[str, str], *objects: tuple[str, dict[str, Any]]) -> str:
        name = f"rules-{uuid4().hex[:8]}"
        body = {"metadata": {"name": name, "labels": {"rules": name, **labels}}}
        kube.cluster.api("POST", "/api/v1/namespaces", json=body).raise_for_status()
        names.append(name)
        for path, manifest in objects:
            text = json.dumps(manifest).replace("@NAMESPACE@", name)
            kube.cluster.api("POST", path.replace("@NAMESPACE@", name), content=text, headers=JSON).raise_for_status()
            created.append(f"{path}/{json.loads(text)['metadata']['name']}".replace("@NAMESPACE@", name))
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        eventually(lambda: kube.cluster.api("GET", account).is_success)
        return name

    yield create
    for path in created:
        kube.cluster.api("DELETE", path)
    for name in names:
        kube.cluster.api("DELETE", f"/api/v1/namespaces/{name}")


JSON = {"Content-Type": "application/json"}


async def refusal(kube: Any, recorder: Recorder, **settings: Any) -> Failure:
    """Returns the failure of a trial that is refused at once."""

    async def trial() -> None:
        async with kube.deployer(**settings).deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
            run = endpoint.client.run("autotuner.testing.fake_worker", b"{}", labels=recorder.context.labels)
            async with run as lines:
                assert [line async for line in lines] == []

    with anyio.fail_after(30), pytest.raises(TrialFailedError) as caught:
        await trial()
    return caught.value.failure


@pytest.mark.optional
async def test_enforced_pod_security(kube: Any, recorder: Recorder, namespace: MakeNamespace) -> None:
    """Preflight and trial name the setting, with which server and load generator run."""
    needs_its_own_tmp()
    name = namespace({ENFORCE: "restricted"})
    checks = await kube.deployer(namespace=name).preflight([fake_plan()])
    failed = [c for c in checks if c.status is CheckStatus.FAIL]
    assert [(c.name, c.detail.partition(":")[0]) for c in failed] == [
        ("admission", "server"),
        ("admission", "load generator"),
    ]
    assert all("PodSecurity" in c.detail and "deploy.security: restricted" in c.remedy for c in failed)
    failure = await refusal(kube, recorder, namespace=name)
    assert failure.cause in FATAL
    assert "PodSecurity" in failure.message
    assert "deploy.security: restricted" in failure.remedy
    restricted = kube.deployer(namespace=name, **RESTRICTED)
    assert [c for c in await restricted.preflight([fake_plan()]) if c.status is not CheckStatus.OK] == []
    writes_home = "import pathlib\n(pathlib.Path.home() / 'x').write_text('')"
    plan = telling_plan(f"{writes_home}\n{ENDS_ON_SIGTERM}")
    async with restricted.deploy(plan, recorder.context) as endpoint:
        order = json.dumps({"lines": 2}).encode()
        labels = recorder.context.labels
        async with endpoint.client.run("autotuner.testing.fake_worker", order, labels=labels) as lines:
            assert len([line async for line in lines]) == 2


ENDS_ON_SIGTERM = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))"
LIMIT_RANGES = "/api/v1/namespaces/@NAMESPACE@/limitranges"
QUOTAS = "/api/v1/namespaces/@NAMESPACE@/resourcequotas"
LIMIT_RANGE = {"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "256Mi"}}]}}
QUOTA = {"metadata": {"name": "cpu-limits"}, "spec": {"hard": {"limits.cpu": "8"}}}
POLICY = {
    "metadata": {"name": "@NAMESPACE@"},
    "spec": {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"rules": "@NAMESPACE@"}},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
        },
        "validations": [{"expression": "'team' in object.metadata.labels", "message": "label team is required"}],
    },
}
BINDING = {
    "metadata": {"name": "@NAMESPACE@"},
    "spec": {"policyName": "@NAMESPACE@", "validationActions": ["Deny"]},
}


@pytest.mark.parametrize(
    ("objects", "settings", "remedy"),
    [
        ([(LIMIT_RANGES, LIMIT_RANGE)], {"memory": "512Mi"}, "deploy.memory"),
        ([(QUOTAS, QUOTA)], {}, "deploy.cpu_limit"),
        ([], {"service_account": "no-such-object"}, "deploy.service_account"),
        ([], {"priority_class": "no-such-object"}, "deploy.priority_class"),
        ([], {"runtime_class": "no-such-object"}, "deploy.runtime_class"),
        ([], {"loadgen_service_account": "no-such-object"}, "deploy.loadgen_service_account"),
    ],
)
async def test_refusals_are_predicted_and_final(
    kube: Any,
    recorder: Recorder,
    namespace: MakeNamespace,
    objects: list[tuple[str, dict[str, Any]]],
    settings: dict[str, Any],
    remedy: str,
) -> None:
    deploy = {"namespace": namespace({}, *objects), **settings}
    checks = await kube.deployer(**deploy).preflight([fake_plan()])
    assert any(c.status is CheckStatus.FAIL and remedy in c.remedy for c in checks), checks
    failure = await refusal(kube, recorder, **deploy)
    assert failure.cause in FATAL, failure
    assert remedy in failure.remedy


async def test_policy_that_requires_a_label(kube: Any, recorder: Recorder, namespace: MakeNamespace) -> None:
    name = namespace(
        {},
        (f"{POLICIES}/validatingadmissionpolicies", POLICY),
        (f"{POLICIES}/validatingadmissionpolicybindings", BINDING),
    )

    async def failed_details() -> list[str]:
        checks = await kube.deployer(namespace=name).preflight([fake_plan()])
        return [c.detail for c in checks if c.status is CheckStatus.FAIL]

    with anyio.fail_after(30):
        # A policy takes effect a moment after its creation, possibly between the two dry runs.
        while len(details := await failed_details()) < 2:  # noqa: ASYNC110
            await anyio.sleep(0.2)
    assert all("label team is required" in detail for detail in details), "the message of the policy"
    assert {detail.partition(":")[0] for detail in details} == {"server", "load generator"}
    assert (await refusal(kube, recorder, namespace=name)).cause in FATAL
    checks = await kube.deployer(namespace=name, labels={"team": "ml"}).preflight([fake_plan()])
    assert [c for c in checks if c.status is not CheckStatus.OK] == []


async def test_default_limit_of_the_namespace_is_a_warning(kube: Any, namespace: MakeNamespace) -> None:
    """The default of a LimitRange would throttle the server and so affect the results."""
    default = {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}}
    name = namespace({}, (LIMIT_RANGES, {"metadata": {"name": "defaults"}, "spec": {"limits": [default]}}))
    checks = await kube.deployer(namespace=name).preflight([fake_plan()])
    warnings = [c for c in checks if c.status is CheckStatus.WARN]
    assert [(c.name, c.detail.partition(":")[0]) for c in warnings] == [
        ("limits", "server"),
        ("limits", "load generator"),
    ]
    for setting, check in zip(("deploy.cpu_limit", "deploy.loadgen_cpu_limit"), warnings, strict=True):
        assert "500m" in check.detail
        assert setting in check.remedy


@pytest.mark.campaign
@pytest.mark.optional
def test_study_in_a_restricted_namespace(
    kube: Any, namespace: MakeNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is in a PersistentVolumeClaim, since Pod Security forbids hostPath volumes."""
    needs_its_own_tmp()
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    folder = tmp_path / "models" / "llama-3-2-1b-instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for part in (folder, *folder.parents):
        with suppress(PermissionError):
            part.chmod(0o755)
    volume = f"models-{uuid4().hex[:8]}"
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    spec = {**common, "capacity": size, "hostPath": {"path": str(tmp_path / "models")}}
    claim = {**common, "resources": {"requests": size}, "volumeName": volume}
    name = namespace(
        {ENFORCE: "restricted"},
        ("/api/v1/persistentvolumes", {"metadata": {"name": volume}, "spec": spec}),
        ("/api/v1/namespaces/@NAMESPACE@/persistentvolumeclaims", {"metadata": {"name": "models"}, "spec": claim}),
    )
    path = f"/api/v1/namespaces/{name}/persistentvolumeclaims/models"
    number = count()

    def bound() -> bool:
        """Changes the claim, which triggers its controller; otherwise that only polls every 15 s."""
        change = {"metadata": {"annotations": {"checked": str(next(number))}}}
        patched = kube.cluster.api("PATCH", path, json=change, headers={"Content-Type": "application/merge-patch+json"})
        return bool(patched.json()["status"]["phase"] == "Bound")

    eventually(bound)
    deploy = kube.settings(namespace=name, pvc={"claim": "models"}, image=None, **RESTRICTED)
    result = autotuner.tune(
        {
            "name": "restricted",
            "model": "llama-3-2-1b-instruct",
            "engine": "sglang",
            "deploy": {"kind": "kubernetes", **deploy},
            "parameters": {"mem-fraction-static": [0.8]},
            "workload": calm_workload("D(100,20)"),
            "benchmark": CALM_BENCHMARK,
            "objective": "max output_throughput",
            "search": {"strategy": "grid", "trials": 1},
            "confirm": {"repeats": 0},
        }
    )
    assert [t.state for t in result.trials] == [TrialState.DONE], [t.failure for t in result.trials]
    assert result.trials[0].measurements[0].failed == 0
