"""How servers in pods end: by someone else, with their tuner, their node, or the API server."""

import json
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
from autotuner.study.failure import Blame, FailureCause, TrialFailedError
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

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it

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
    """The cluster for a test that kills parts of it; they run again afterward."""
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
        assert failure.blame is Blame.ENVIRONMENT
        assert "by someone else" in failure.message
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
    assert recorder.ends == [], "not the server's fault"


async def test_only_dead_owners_lose_theirs(kube: Any, tmp_path: Path) -> None:
    """A tuner that is killed leaves server, load and Secret; the next one removes them together."""
    dead = left_by(kube, "dead", "First.-", tmp_path / "1")
    living = left_by(kube, "living", "second", tmp_path / "2")
    try:
        dead.kill()
        dead.wait()
        assert len(kube.objects("jobs")) == 4
        assert await kube.deployer().reap({"dead"}.__contains__, study="second") == []
        (line,) = await kube.deployer().reap({"dead"}.__contains__)
        assert "study First.- trial 3 (owner dead)" in line
        await run_sync(until, lambda: len(kube.objects("jobs")) == 2)
        assert {o["metadata"]["annotations"]["autotuner/owner"] for o in kube.objects("jobs")} == {"living"}
        assert await kube.deployer().reap({"dead"}.__contains__) == []
    finally:
        living.send_signal(signal.SIGINT)
        living.wait(60)
    await run_sync(until, lambda: kube.left() == [])


def left_by(
    kube: Any, owner: str, study: str, folder: Path, *, code: str = TUNER, **settings: Any
) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", code, json.dumps(kube.settings(**settings)), study, owner, str(folder)]
    tuner = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert tuner.stdout
    assert tuner.stdout.readline().startswith("0 ")
    tuner.stdout.close()
    return tuner


async def test_an_api_server_that_is_restarted_is_waited_for(mortal: Any, recorder: Recorder) -> None:
    """Killed under a server, while load runs and its words come: nothing is lost, and the server is the same."""
    async with mortal.deployer().deploy(mortal.polite(fake_plan(), ticks=True), recorder.context) as endpoint:
        before = await endpoint.identity()
        words = await worker_output_over_a_restart(mortal.cluster, endpoint, recorder.context.labels, 400)
        assert words == list(range(400))
        assert await endpoint.identity() == before
        await run_sync(mortal.kill)
        with anyio.fail_after(30):
            assert (await endpoint.died()).cause is FailureCause.CRASH_UNDER_LOAD
    said = (recorder.context.folder / "server.log").read_text().splitlines()
    ticks = [int(line.removeprefix("tick ")) for line in said if line.startswith("tick ")]
    assert ticks == list(range(len(ticks))), "every line once"
    assert len(ticks) > 100
    assert mortal.left() == []


async def test_an_api_server_that_stays_away(mortal: Any, tmp_path: Path) -> None:
    """The trial is void once patience is over; what is left is removed before the next launch."""
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
    assert "removed before the next launch" in notes[-1]
    assert first.ends == []
    await run_sync(mortal.cluster.restart, Part.API_SERVER)
    (left,) = mortal.objects("jobs")
    async with deployer.deploy(mortal.polite(fake_plan()), Recorder(tmp_path / "2").context):
        assert left["metadata"]["name"] not in [
            job["metadata"]["name"] for job in mortal.objects("jobs") if not job["metadata"].get("deletionTimestamp")
        ]


async def test_a_node_that_is_lost(mortal: Any, recorder: Recorder) -> None:
    """Noticed when the cluster notices it. The pod cannot be ended: that is reported, and not waited for."""
    notes: list[str] = []
    async with mortal.deployer().deploy(fake_plan(), replace(recorder.context, note=notes.append)) as endpoint:
        await run_sync(mortal.cluster.kill, Part.KUBELET)
        with anyio.fail_after(60):
            failure = await endpoint.died()
        assert failure.blame is Blame.ENVIRONMENT
        assert "node node-1 no longer responds" in failure.message
    assert "its node node-1 does not respond" in notes[-1]
    assert recorder.ends == []


async def test_without_rights(kube: Any, recorder: Recorder) -> None:
    """The preflight names every verb that is missing, and nothing more once they are given."""
    deployer = kube.deployer(User.GUEST)
    failed = {c.name: c for c in await deployer.preflight([fake_plan()]) if c.status is CheckStatus.FAIL}
    told = failed["rights"].detail
    for verb in ("create jobs (batch)", "delete jobs (batch)", "watch pods", "get pods/log", "create secrets"):
        assert verb in told
    assert "list nodes" in told
    with pytest.raises(UnusableTargetError) as unusable:
        await deployer.hardware()
    assert "nodes" in unusable.value.message
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("nothing may be made")
    assert "jobs.batch" in caught.value.failure.message
    grant(kube.cluster)
    checks = await kube.deployer(User.GUEST, gpus=4).preflight([fake_plan()])
    assert [c for c in checks if c.status is CheckStatus.FAIL] == []
    assert "get pods/exec" in next(c.detail for c in checks if c.name == "rights" and c.status is CheckStatus.WARN)
    async with kube.deployer(User.GUEST, gpus=4).deploy(kube.polite(fake_plan()), recorder.context) as endpoint:
        assert endpoint.argv == kube.polite(fake_plan()).argv(host="0.0.0.0", port=8000), "as the pod says"


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


async def test_an_api_server_that_is_not_there(tmp_path: Path, recorder: Recorder) -> None:
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
    with pytest.raises(UnusableTargetError) as told:
        await deployer.hardware()
    assert "\n" not in str(told.value)
    assert await deployer.reap(lambda _: True) == []
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("there is no cluster")
    assert caught.value.failure.cause is FailureCause.DEPLOYER_LOST


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist"),
        ("{}", "cannot get credentials"),
        ('{"clusters": [], "contexts": [], "users": []}', "cannot get credentials"),
    ],
)
async def test_a_kubeconfig_of_no_use(tmp_path: Path, content: str | None, told: str) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    deployer = KubernetesDeployer(KubernetesSettings(kubeconfig=str(file)))
    (check,) = await deployer.preflight([fake_plan()])
    assert check.status is CheckStatus.FAIL
    assert told in check.detail
    assert "\n" not in check.detail


async def test_a_killed_tuners_server_ends_by_itself(kube: Any, tmp_path: Path) -> None:
    """Nobody reaps it: its deadline is moved no more. A living tuner's server outlives the same lease."""
    short = TUNER.replace("async def main", "deadline.LEASE_S = 4.0\n\nasync def main")
    dead = left_by(kube, "dead", "lease", tmp_path / "1", code=short, api_patience="1s")
    living = left_by(kube, "living", "lease", tmp_path / "2", code=short, api_patience="1s")
    try:
        dead.kill()
        dead.wait()
        await run_sync(until, lambda: pods_of(kube) == {"living"})
        await anyio.sleep(6)  # longer than the lease and the share of it that is added
        assert pods_of(kube) == {"living"}
    finally:
        living.send_signal(signal.SIGINT)
        living.wait(60)
        assert len(await kube.deployer().reap({"dead"}.__contains__)) == 1
    await run_sync(until, lambda: kube.left() == [])


def pods_of(kube: Any) -> set[str]:
    """Owners of the servers' pods that run."""
    pods = kube.objects("pods", "server")
    return {p["metadata"]["annotations"]["autotuner/owner"] for p in pods if p["status"]["phase"] == "Running"}
