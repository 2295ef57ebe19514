"""Pods that a namespace's rules refuse: foreseen by the preflight, final in a run, cured by a setting."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
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
"""The test's images have no user of their own."""
POLICIES = "/apis/admissionregistration.k8s.io/v1"

Make = Callable[..., str]


@pytest.fixture
def namespace(kube: Any) -> Iterator[Make]:
    """Makes namespaces with labels, and objects in them; all are gone after the test."""
    made = list[str]()
    names = list[str]()

    def create(labels: dict[str, str], *objects: tuple[str, dict[str, Any]]) -> str:
        name = f"rules-{uuid4().hex[:8]}"
        body = {"metadata": {"name": name, "labels": {"rules": name, **labels}}}
        kube.cluster.api("POST", "/api/v1/namespaces", json=body).raise_for_status()
        names.append(name)
        for path, thing in objects:
            text = json.dumps(thing).replace("@NAMESPACE@", name)
            kube.cluster.api("POST", path.replace("@NAMESPACE@", name), content=text, headers=JSON).raise_for_status()
            made.append(f"{path}/{json.loads(text)['metadata']['name']}".replace("@NAMESPACE@", name))
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        eventually(lambda: kube.cluster.api("GET", account).is_success)
        return name

    yield create
    for path in made:
        kube.cluster.api("DELETE", path)
    for name in names:
        kube.cluster.api("DELETE", f"/api/v1/namespaces/{name}")


JSON = {"Content-Type": "application/json"}


async def refused(kube: Any, recorder: Recorder, **settings: Any) -> Failure:
    """Of a trial: at once, and with nothing left."""

    async def trial() -> None:
        async with kube.deployer(**settings).deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
            run = endpoint.client.run("autotuner.testing.fake_worker", b"{}", labels=recorder.context.labels)
            async with run as lines:
                assert [line async for line in lines] == []

    with anyio.fail_after(30), pytest.raises(TrialFailedError) as caught:
        await trial()
    return caught.value.failure


@pytest.mark.optional
async def test_a_namespace_that_enforces_pod_security(kube: Any, recorder: Recorder, namespace: Make) -> None:
    """Foreseen, refused at once with the cure, and with the cure everything runs."""
    needs_its_own_tmp()
    name = namespace({ENFORCE: "restricted"})
    checks = await kube.deployer(namespace=name).preflight([fake_plan()])
    told = [c for c in checks if c.status is CheckStatus.FAIL]
    assert [c.detail.partition(":")[0] for c in told] == ["server", "load generator"]
    assert all("PodSecurity" in c.detail and "deploy.security: restricted" in c.remedy for c in told)
    failure = await refused(kube, recorder, namespace=name)
    assert failure.cause in FATAL
    assert "violates PodSecurity" in failure.message
    assert "deploy.security: restricted" in failure.remedy
    cured = kube.deployer(namespace=name, **RESTRICTED)
    assert [c for c in await cured.preflight([fake_plan()]) if c.status is not CheckStatus.OK] == []
    look = "import pathlib\nhome = pathlib.Path.home()\n(home / 'x').write_text('')\ntold = {'user': os.getuid()}"
    plan = telling_plan(f"{look}\n{ENDS}")
    async with cured.deploy(plan, recorder.context) as endpoint:
        order = json.dumps({"lines": 2}).encode()
        labels = recorder.context.labels
        async with endpoint.client.run("autotuner.testing.fake_worker", order, labels=labels) as lines:
            assert len([line async for line in lines]) == 2


ENDS = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))"
LIMITS = "/api/v1/namespaces/@NAMESPACE@/limitranges"
QUOTAS = "/api/v1/namespaces/@NAMESPACE@/resourcequotas"
LARGEST = {"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "256Mi"}}]}}
WANTS = {"metadata": {"name": "wants"}, "spec": {"hard": {"limits.cpu": "8"}}}
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
        ([(LIMITS, LARGEST)], {"memory": "512Mi"}, "deploy.memory"),
        ([(QUOTAS, WANTS)], {}, "deploy.cpu_limit"),
        ([], {"service_account": "nobody"}, "deploy.service_account"),
        ([], {"priority_class": "nobody"}, "deploy.priority_class"),
        ([], {"runtime_class": "nobody"}, "deploy.runtime_class"),
        ([], {"loadgen_service_account": "nobody"}, "deploy.loadgen_service_account"),
    ],
)
async def test_each_refusal_is_foreseen_and_final(
    kube: Any,
    recorder: Recorder,
    namespace: Make,
    objects: list[tuple[str, dict[str, Any]]],
    settings: dict[str, Any],
    remedy: str,
) -> None:
    deploy = {"namespace": namespace({}, *objects), **settings}
    checks = await kube.deployer(**deploy).preflight([fake_plan()])
    assert any(c.status is CheckStatus.FAIL and remedy in c.remedy for c in checks), checks
    failure = await refused(kube, recorder, **deploy)
    assert failure.cause in FATAL, failure
    assert remedy in failure.remedy


async def test_a_policy_that_wants_a_label_on_every_pod(kube: Any, recorder: Recorder, namespace: Make) -> None:
    name = namespace(
        {},
        (f"{POLICIES}/validatingadmissionpolicies", POLICY),
        (f"{POLICIES}/validatingadmissionpolicybindings", BINDING),
    )

    async def told() -> list[str]:
        checks = await kube.deployer(namespace=name).preflight([fake_plan()])
        return [c.detail for c in checks if c.status is CheckStatus.FAIL]

    with anyio.fail_after(30):
        # A policy takes effect a moment after it is made, possibly between the two dry runs.
        while len(found := await told()) < 2:  # noqa: ASYNC110
            await anyio.sleep(0.2)
    assert all("label team is required" in detail for detail in found)
    assert len({detail.partition(":")[0] for detail in found}) == 2, "the server's pod and the load generator's"
    assert (await refused(kube, recorder, namespace=name)).cause in FATAL
    checks = await kube.deployer(namespace=name, labels={"team": "ml"}).preflight([fake_plan()])
    assert [c for c in checks if c.status is not CheckStatus.OK] == []


async def test_limit_that_the_namespace_adds_is_reported(kube: Any, namespace: Make) -> None:
    """A LimitRange's default would throttle the server, and so decide the figures."""
    default = {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}}
    name = namespace({}, (LIMITS, {"metadata": {"name": "usual"}, "spec": {"limits": [default]}}))
    checks = await kube.deployer(namespace=name).preflight([fake_plan()])
    told = [c for c in checks if c.status is CheckStatus.WARN]
    assert [(c.name, "deploy.cpu_limit" in c.remedy or "deploy.loadgen_cpu_limit" in c.remedy) for c in told] == [
        ("limits", True)
    ] * 2


@pytest.mark.campaign
@pytest.mark.optional
def test_a_whole_study_in_a_restricted_namespace(
    kube: Any, namespace: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is in a claim, since folders of the nodes are not allowed there."""
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
