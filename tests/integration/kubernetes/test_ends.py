"""Ends of servers in pods: removal by another client, a killed tuner, a lost node, a lost API server."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from autotuner.deployers.kubernetes.deployer import KubernetesDeployer, KubernetesSettings
from autotuner.deployers.shared.failures import UnusableTargetError
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan
from support.labs.cluster import OwnCluster
from support.labs.cluster_parts import Part, User
from support.outages import restore, worker_output_over_a_restart

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.campaign]

TUNER = """
import anyio, json, signal, sys
from pathlib import Path
from autotuner.deployers.kubernetes.pods import deadline
from autotuner.deployers.kubernetes.deployer import KubernetesDeployer, KubernetesSettings
from autotuner.study.launch import Labels
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by default in a background job of a shell

async def main():
    deployer = KubernetesDeployer(KubernetesSettings.model_validate(json.loads(sys.argv[1])))
    labels = Labels(study=sys.argv[2], trial=3, owner=sys.argv[3])
    async with deployer.deploy(fake_plan(), Recorder(Path(sys.argv[4]), labels=labels).context) as endpoint:
        run = endpoint.client.run("autotuner.testing.fake_worker", b'{"lines": 1, "wait": 600}', labels=labels)
        async with run as lines:
            async for line in lines:
                print(line.decode(), flush=True)

anyio.run(main)
"""


@pytest.fixture
def mortal(shared: Any) -> Iterator[Any]:
    """The cluster for a test that kills parts of it; they are restarted afterward."""
    yield shared
    restore(shared.cluster)
    until(lambda: shared.left() == [])


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


async def test_pod_deleted_by_another_client(kube: Any, recorder: Recorder) -> None:
    async with kube.deployer().deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        name = kube.pod()["metadata"]["name"]
        await run_sync(kube.cluster.api, "DELETE", f"/api/v1/namespaces/default/pods/{name}")
        with anyio.fail_after(30):
            failure = await endpoint.died()
        assert failure.cause is FailureCause.ENVIRONMENT
        assert re.search("deleted|removed", failure.message)
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
    assert recorder.ends == [], "the server did not end by itself"


async def test_reaping_removes_only_objects_of_dead_owners(kube: Any, tmp_path: Path) -> None:
    """A killed tuner leaves server, load generator and Secret; the next one removes all of them."""
    dead = start_tuner(kube, "dead", "First.-", tmp_path / "1")
    living = start_tuner(kube, "living", "second", tmp_path / "2")
    try:
        dead.kill()
        dead.wait()
        assert len(kube.objects("jobs")) == 4
        assert await kube.deployer().reap({"dead"}.__contains__, study="second") == []
        (line,) = await kube.deployer().reap({"dead"}.__contains__)
        assert {"First.-", "3", "dead"} <= set(re.findall(r"[\w.-]+", line)), "study, trial and owner"
        await run_sync(until, lambda: len(kube.objects("jobs")) == 2)
        assert {o["metadata"]["annotations"]["autotuner/owner"] for o in kube.objects("jobs")} == {"living"}
        assert await kube.deployer().reap({"dead"}.__contains__) == []
    finally:
        living.send_signal(signal.SIGINT)
        living.wait(60)
    await run_sync(until, lambda: kube.left() == [])


def start_tuner(
    kube: Any, owner: str, study: str, folder: Path, *, code: str = TUNER, **settings: Any
) -> subprocess.Popen[str]:
    """Starts a tuner in a process of its own, and returns once its load generator runs."""
    argv = [sys.executable, "-c", code, json.dumps(kube.settings(**settings)), study, owner, str(folder)]
    tuner = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert tuner.stdout
    assert tuner.stdout.readline().startswith("0 ")
    tuner.stdout.close()
    return tuner


async def test_restarted_api_server(mortal: Any, recorder: Recorder) -> None:
    """It is killed while a load generator runs: no output is lost, and the server is the same."""
    async with mortal.deployer().deploy(mortal.polite(fake_plan(), ticks=True), recorder.context) as endpoint:
        before = await endpoint.identity()
        output = await worker_output_over_a_restart(mortal.cluster, endpoint, recorder.context.labels, 400)
        assert output == list(range(400))
        assert await endpoint.identity() == before
        await run_sync(mortal.kill)
        with anyio.fail_after(30):
            assert (await endpoint.died()).cause is FailureCause.CRASH_UNDER_LOAD
    log = (recorder.context.folder / "server.log").read_text().splitlines()
    ticks = [int(line.removeprefix("tick ")) for line in log if line.startswith("tick ")]
    assert ticks == list(range(len(ticks))), "each line once"
    assert len(ticks) > 100
    assert mortal.left() == []


async def test_lost_api_server(mortal: Any, tmp_path: Path) -> None:
    """The trial is void after ``api_patience``; its objects are removed before the next launch."""
    notes: list[str] = []
    first = Recorder(tmp_path / "1")
    deployer = mortal.deployer(api_patience=1)
    async with deployer.deploy(mortal.polite(fake_plan()), replace(first.context, note=notes.append)) as endpoint:
        await run_sync(mortal.cluster.kill, Part.API_SERVER)
        with anyio.fail_after(60):
            failure = await endpoint.died()
        assert failure.cause is FailureCause.DEPLOYER_LOST
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.DEPLOYER_LOST
    assert "next launch" in notes[-1]
    assert first.ends == []
    await run_sync(mortal.cluster.restart, Part.API_SERVER)
    (left,) = mortal.objects("jobs")
    async with deployer.deploy(mortal.polite(fake_plan()), Recorder(tmp_path / "2").context):
        assert left["metadata"]["name"] not in [
            job["metadata"]["name"] for job in mortal.objects("jobs") if not job["metadata"].get("deletionTimestamp")
        ]


async def test_lost_node(mortal: Any, recorder: Recorder) -> None:
    """Detected when the cluster detects it. The pod cannot be removed: that is reported without a wait."""
    notes: list[str] = []
    async with mortal.deployer().deploy(fake_plan(), replace(recorder.context, note=notes.append)) as endpoint:
        await run_sync(mortal.cluster.kill, Part.KUBELET)
        with anyio.fail_after(60):
            failure = await endpoint.died()
        assert failure.cause is FailureCause.ENVIRONMENT
        assert "node-1" in failure.message
        assert "gone" not in failure.message, "the node object still exists"
        assert "kubectl describe node" in failure.remedy
    assert "node-1" in notes[-1]
    assert "next launch" in notes[-1]
    assert recorder.ends == []


async def test_account_without_permissions(kube: Any, recorder: Recorder) -> None:
    """The preflight names every missing verb, and does not fail once all of them are granted."""
    deployer = kube.deployer(User.GUEST)
    failed = {c.name: c for c in await deployer.preflight([fake_plan()]) if c.status is CheckStatus.FAIL}
    verbs = ("create jobs (batch)", "delete jobs (batch)", "watch pods", "get pods/log", "create secrets", "list nodes")
    assert all(verb in failed["rights"].detail for verb in verbs)
    with pytest.raises(UnusableTargetError) as unusable:
        await deployer.hardware()
    assert unusable.value.details["cause"] == FailureCause.ENVIRONMENT
    assert "nodes" in unusable.value.message
    assert "deploy.gpus" in unusable.value.remedy
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("the account may not create anything")
    assert caught.value.failure.cause is FailureCause.NOT_ACCEPTED
    assert "jobs.batch" in caught.value.failure.message
    grant(kube.cluster)
    checks = await kube.deployer(User.GUEST, gpus=4).preflight([fake_plan()])
    assert [c for c in checks if c.status is CheckStatus.FAIL] == []
    assert "get pods/exec" in next(c.detail for c in checks if c.name == "rights" and c.status is CheckStatus.WARN)
    async with kube.deployer(User.GUEST, gpus=4).deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        assert endpoint.argv == kube.polite(fake_plan()).argv(host="0.0.0.0", port=8000), (
            "as the pod declares, since exec is not allowed"
        )


def grant(cluster: OwnCluster) -> None:
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "delete"]},
        {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "delete"]},
    ]
    group = "rbac.authorization.k8s.io"
    where = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    cluster.api("POST", f"{where}/roles", json={"metadata": {"name": "tuner"}, "rules": rules}).raise_for_status()
    binding = {
        "metadata": {"name": "tuner"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "tuner"},
        "subjects": [{"kind": "User", "name": "guest", "apiGroup": group}],
    }
    cluster.api("POST", f"{where}/rolebindings", json=binding).raise_for_status()


async def test_unreachable_api_server(tmp_path: Path, recorder: Recorder) -> None:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "config"
    file.write_text(json.dumps(config))
    deployer = KubernetesDeployer(KubernetesSettings(kubeconfig=str(file), image="x", api_patience=0.2))
    (check,) = await deployer.preflight([fake_plan()])
    assert (check.status, bool(check.remedy)) == (CheckStatus.FAIL, True)
    with pytest.raises(UnusableTargetError) as unusable:
        await deployer.hardware()
    assert unusable.value.details["cause"] == FailureCause.DEPLOYER_LOST
    assert "\n" not in str(unusable.value)
    assert await deployer.reap(lambda _: True) == []
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("there is no API server")
    assert caught.value.failure.cause is FailureCause.DEPLOYER_LOST


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (None, ["kubeconfig"]),
        ("{}", ["kubeconfig", "context"]),
        ('{"clusters": [], "contexts": [], "users": []}', ["kubeconfig", "context"]),
    ],
)
async def test_unusable_kubeconfig(tmp_path: Path, content: str | None, settings: list[str]) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    deployer = KubernetesDeployer(KubernetesSettings(kubeconfig=str(file)))
    (check,) = await deployer.preflight([fake_plan()])
    assert (check.name, check.status) == ("kubernetes", CheckStatus.FAIL)
    assert (str(file) in check.detail) == (content is None)
    assert re.findall(r"\bdeploy\.(\w+)", check.remedy) == settings
    assert "\n" not in check.detail


async def test_server_of_a_killed_tuner_expires(kube: Any, tmp_path: Path) -> None:
    """Its deadline is no longer extended. The server of a living tuner outlives the same lease."""
    short = TUNER.replace("async def main", "deadline.LEASE_S = 4.0\n\nasync def main")
    dead = start_tuner(kube, "dead", "lease", tmp_path / "1", code=short, api_patience="1s")
    living = start_tuner(kube, "living", "lease", tmp_path / "2", code=short, api_patience="1s")
    try:
        dead.kill()
        dead.wait()
        await run_sync(until, lambda: owners_of_running_pods(kube) == {"living"})
        await anyio.sleep(6)  # longer than the lease and its margin
        assert owners_of_running_pods(kube) == {"living"}
    finally:
        living.send_signal(signal.SIGINT)
        living.wait(60)
        assert len(await kube.deployer().reap({"dead"}.__contains__)) == 1
    await run_sync(until, lambda: kube.left() == [])


def owners_of_running_pods(kube: Any) -> set[str]:
    """Returns the owners of the servers' pods that are running."""
    pods = kube.objects("pods", "server")
    return {p["metadata"]["annotations"]["autotuner/owner"] for p in pods if p["status"]["phase"] == "Running"}
