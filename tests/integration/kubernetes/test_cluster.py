"""The cluster that other tests use: pods, scheduling, users, outages, and its complete removal."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotuner.benchmarks.loadgen.spec import Lengths, WorkerSpec
from autotuner.engines.sglang.engine import Sglang
from autotuner.engines.vllm.engine import Vllm
from support.labs import cluster_parts
from support.labs.cluster import VERSION, OwnCluster, Part, User
from support.labs.cluster_images import LOADGEN
from support.labs.host import control_groups, processes_naming

pytestmark = pytest.mark.cluster

Clusters = Callable[..., OwnCluster]
BUSYBOX = "autotuner/busybox:test"
COMMAND = Path(__file__).parents[3] / "scripts" / "cluster.py"
WORKER = "autotuner.benchmarks.loadgen.worker"
CALLS_THE_API = """
import os, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
url = "https://%s:%s/version" % (os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + open(account + "token").read()})
print(urllib.request.urlopen(request, context=ssl.create_default_context(cafile=account + "ca.crt")).read().decode())
"""
SESSION = """
import sys, time
from pathlib import Path
from support.labs.cluster import OwnCluster
cluster = OwnCluster()
cluster.start()
cluster.load_image(Path(sys.argv[1]))
cluster.run_pod({"metadata": {"name": "sleeper"}, "spec": {"containers": [{"name": "main", "image": sys.argv[2]}]}})
print(cluster.folder, cluster.host_address, flush=True)
time.sleep(600)
"""


def pod(name: str, image: str, *command: str, gpus: int = 0, **main: Any) -> dict[str, Any]:
    container = {"name": "main", "image": image, **({"command": list(command)} if command else {}), **main}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    spec = {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]}
    return {"metadata": {"name": name}, "spec": spec}


def server(name: str, image: str, *command: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1}
    return pod(name, image, *command, gpus=1, readinessProbe=probe)


def eventually(condition: Callable[[], Any], timeout_s: float = 40.0) -> Any:
    """Returns the first true result of ``condition``."""
    until = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < until, "the condition did not become true"
        time.sleep(0.1)
    return result


def load(argv: list[str], url: str) -> None:
    """Runs the load generator with this command; it must get responses and no errors."""
    lengths = Lengths("fixed", 16)
    spec = WorkerSpec(url=url, model="tiny", concurrency=2, warmup_s=0.0, duration_s=1.0, input=lengths, output=lengths)
    done = subprocess.run(argv, input=spec.to_json(), capture_output=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["kind"] == "result", lines[-1]
    records = [record for line in lines if line["kind"] == "records" for record in line["records"]]
    assert [r["error"] for r in records if r["error"]] == []
    assert [r["output_tokens"] for r in records if r["complete"]].count(16) > 2, records


@pytest.fixture(scope="module")
def sglang(cluster: OwnCluster) -> Iterator[dict[str, Any]]:
    """A ready pod of the simulator with SGLang's command line."""
    command = ["python3", "-m", "sglang.launch_server", "--model-path", "/models/tiny", "--served-model-name", "tiny"]
    command += ["--host", "0.0.0.0", "--port", "8000"]
    yield cluster.run_pod(server("sglang", Sglang.image, *command))
    cluster.delete_pod("sglang")


def url_of(served: dict[str, Any]) -> str:
    return f"http://{served['status']['podIP']}:8000"


class TestPods:
    """Servers in pods are reachable from this machine and from other pods."""

    def test_load_from_this_machine(self, sglang: dict[str, Any]) -> None:
        load([sys.executable, "-m", WORKER], url_of(sglang))

    def test_load_from_another_pod(self, cluster: OwnCluster, sglang: dict[str, Any]) -> None:
        cluster.run_pod(pod("loadgen", LOADGEN, "python3", "-c", "import time; time.sleep(600)"))
        argv = cluster.kubectl_argv("exec", "-i", "loadgen", "--", "python3", "-m", WORKER)
        load(argv, url_of(sglang))
        cluster.delete_pod("loadgen")

    def test_same_image_simulates_vllm(self, cluster: OwnCluster) -> None:
        served = cluster.run_pod(server("vllm", Vllm.image, "vllm", "serve", "/models/tiny", "--port", "8000"))
        models = httpx.get(f"{url_of(served)}/v1/models", trust_env=False).json()
        cluster.delete_pod("vllm")
        assert models["data"][0]["id"] == "/models/tiny"

    def test_logs_and_commands(self, cluster: OwnCluster, sglang: dict[str, Any]) -> None:
        assert "ready to roll" in cluster.kubectl("logs", "sglang")
        script = "import sys; print(open('/proc/1/cmdline').read().split(chr(0))[2])"
        assert cluster.kubectl("exec", "sglang", "--", "python3", "-c", script).strip() == "sglang.launch_server"

    def test_port_forward(self, cluster: OwnCluster, sglang: dict[str, Any]) -> None:
        argv = cluster.kubectl_argv("port-forward", "pod/sglang", ":8000")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as forward:
            assert forward.stdout is not None
            port = int(forward.stdout.readline().split(" -> ")[0].rpartition(":")[2])
            load([sys.executable, "-m", WORKER], f"http://127.0.0.1:{port}")
            forward.terminate()

    def test_pod_calls_the_api_server(self, cluster: OwnCluster) -> None:
        cluster.run_pod(pod("caller", LOADGEN, "python3", "-c", CALLS_THE_API), until="Succeeded")
        version = json.loads(cluster.kubectl("logs", "caller"))
        cluster.delete_pod("caller")
        assert version["gitVersion"] == VERSION

    def test_pod_calls_a_server_of_the_test(self, cluster: OwnCluster) -> None:
        with closing(socket.create_server((cluster.host_address, 0))) as listening:
            port = listening.getsockname()[1]
            script = f"echo hello | nc {cluster.host_address} {port}"
            cluster.create_pod(pod("calls", BUSYBOX, "/bin/sh", "-c", script))
            listening.settimeout(40)
            caller, _ = listening.accept()
            with closing(caller):
                assert caller.recv(16) == b"hello\n"
        cluster.delete_pod("calls")


class TestScheduling:
    """GPUs are counted, and a cordoned node gets no pods."""

    def test_more_gpus_than_the_node_has(self, cluster: OwnCluster) -> None:
        cluster.create_pod(pod("big", BUSYBOX, gpus=8))

        def scheduled() -> dict[str, Any]:
            conditions = cluster.get_pod("big")["status"].get("conditions", [])
            return next((c for c in conditions if c["type"] == "PodScheduled"), {})

        condition = eventually(scheduled)
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        assert "Insufficient nvidia.com/gpu" in condition["message"]
        cluster.set_gpus(16)
        eventually(lambda: cluster.get_pod("big")["status"]["phase"] == "Running")
        cluster.delete_pod("big")
        cluster.set_gpus(4)

    def test_cordoned_node(self, cluster: OwnCluster) -> None:
        cluster.cordon()
        cluster.create_pod(pod("waits", BUSYBOX))
        eventually(lambda: "unschedulable" in json.dumps(cluster.get_pod("waits")["status"].get("conditions", [])))
        cluster.cordon(on=False)
        eventually(lambda: cluster.get_pod("waits")["status"]["phase"] == "Running")
        cluster.delete_pod("waits")

    def test_unknown_image(self, cluster: OwnCluster) -> None:
        """There is no registry."""
        cluster.create_pod(pod("unknown", "autotuner/none:1"))

        def waiting() -> str:
            statuses = cluster.get_pod("unknown")["status"].get("containerStatuses", [])
            return statuses[0]["state"].get("waiting", {}).get("reason", "") if statuses else ""

        eventually(lambda: waiting() in {"ErrImagePull", "ImagePullBackOff"})
        cluster.delete_pod("unknown")


class TestUsers:
    """Permissions of the users."""

    def test_guest_has_no_permissions_without_a_role(self, cluster: OwnCluster) -> None:
        path = "/api/v1/namespaces/default/pods"
        response = cluster.api("GET", path, user=User.GUEST)
        assert response.status_code == 403
        assert 'User "guest" cannot list resource "pods"' in response.json()["message"]
        with pytest.raises(RuntimeError, match="cannot list"):
            cluster.kubectl("get", "pods", user=User.GUEST)
        cluster.kubectl("create", "rolebinding", "guest-view", "--clusterrole=view", "--user=guest")
        eventually(lambda: cluster.api("GET", path, user=User.GUEST).is_success)
        cluster.kubectl("delete", "rolebinding", "guest-view")

    def test_files_with_tokens_are_private(self, cluster: OwnCluster) -> None:
        for path in (cluster.kubeconfig, cluster.kubeconfig_for(User.GUEST), cluster.folder / "tokens.csv"):
            assert path.stat().st_mode & 0o077 == 0, path


class TestFaults:
    """Parts are killed and restarted while pods keep running."""

    def test_killed_api_server(self, cluster: OwnCluster, sglang: dict[str, Any]) -> None:
        cluster.kill(Part.API_SERVER)
        with pytest.raises(httpx.ConnectError):
            cluster.api("GET", "/readyz")
        assert httpx.get(f"{url_of(sglang)}/health", trust_env=False).is_success, "the pod keeps running"
        cluster.restart(Part.API_SERVER)
        assert cluster.get_pod("sglang")["metadata"]["uid"] == sglang["metadata"]["uid"]

    def test_frozen_api_server(self, cluster: OwnCluster) -> None:
        cluster.freeze(Part.API_SERVER)
        try:
            with pytest.raises(httpx.TimeoutException):
                cluster.api("GET", "/readyz", timeout=0.5)
        finally:
            cluster.thaw(Part.API_SERVER)
        eventually(lambda: cluster.api("GET", "/readyz").is_success)

    def test_killed_etcd(self, cluster: OwnCluster) -> None:
        cluster.kill(Part.ETCD)
        assert eventually(lambda: cluster.api("GET", "/readyz", timeout=20).status_code == 500)
        cluster.restart(Part.ETCD)
        cluster.kubectl("create", "configmap", "written")
        cluster.kubectl("delete", "configmap", "written")

    def test_killed_kubelet(self, cluster: OwnCluster, sglang: dict[str, Any]) -> None:
        cluster.kill(Part.KUBELET)
        eventually(lambda: not cluster.ready())
        assert httpx.get(f"{url_of(sglang)}/health", trust_env=False).is_success, "the pod keeps running"
        cluster.restart(Part.KUBELET)
        allocatable = cluster.api("GET", f"/api/v1/nodes/{cluster.node}").json()["status"]["allocatable"]
        assert allocatable["nvidia.com/gpu"] == "4"
        [status] = cluster.get_pod("sglang")["status"]["containerStatuses"]
        assert status["containerID"] == sglang["status"]["containerStatuses"][0]["containerID"]
        assert status["restartCount"] == 0
        cluster.run_pod(pod("after", BUSYBOX))
        cluster.delete_pod("after")

    def test_log_of_a_part_that_cannot_start(self, clusters: Clusters, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(cluster_parts._FLAGS, Part.ETCD, lambda _: ["--wrong"])
        own = clusters()
        with pytest.raises(RuntimeError, match=r"(?s)etcd ended: .*-wrong"), own:
            pass
        assert not own.folder.exists()


class Trace:
    """Processes, control groups and network interfaces of a running cluster on this machine."""

    def __init__(self, folder: Path, host_address: str) -> None:
        self.folder = folder
        self.host_address = host_address
        state = folder / "containerd/state/io.containerd.runtime.v2.task/k8s.io"
        self._containers = [entry.name for entry in state.iterdir()]
        assert len(self._containers) == 2, "a pod and its sandbox"
        assert len(self.processes()) >= len(Part) + len(self._containers)
        assert self.groups()
        assert linked(host_address)

    def processes(self) -> list[int]:
        return processes_naming([str(self.folder), *self._containers])

    def groups(self) -> list[Path]:
        return control_groups(self._containers)


def linked(address: str) -> bool:
    """Returns whether an interface has an address that begins with this text."""
    addresses = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
    return f" {address}" in addresses


def cmdline(pid: int) -> str:
    file = Path(f"/proc/{pid}/cmdline")
    return file.read_text() if file.exists() else ""


def node_folders() -> dict[str, list[str]]:
    """Returns the content of the folders that a node uses by default."""
    folders = ("/run/netns", "/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/opt/cni")
    return {name: sorted(p.name for p in Path(name).iterdir()) for name in folders if Path(name).is_dir()}


class TestRemoval:
    """Clusters are separate from each other, and leave nothing behind."""

    def test_two_clusters(self, cluster: OwnCluster, clusters: Clusters, images: list[Path]) -> None:
        before = node_folders()
        with clusters(gpus=2) as other:
            assert other.address != cluster.address
            other.load_image(images[-1])
            first = cluster.run_pod(pod("same", BUSYBOX))
            second = other.run_pod(pod("same", BUSYBOX))
            assert first["metadata"]["uid"] != second["metadata"]["uid"]
            assert cluster.get_pod("same")["status"]["podIP"] == first["status"]["podIP"]
            node = other.api("GET", f"/api/v1/nodes/{other.node}").json()
            assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
            trace = Trace(other.folder, other.host_address)
        cluster.delete_pod("same")
        assert (trace.processes(), trace.groups(), linked(trace.host_address), trace.folder.exists()) == (
            [],
            [],
            False,
            False,
        )
        assert node_folders() == before

    def test_killed_session(self, clusters: Clusters, images: list[Path]) -> None:
        before = node_folders()
        argv = [sys.executable, "-c", SESSION, str(images[-1]), BUSYBOX]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as session:
            assert session.stdout is not None
            folder, address = session.stdout.readline().split()
            trace = Trace(Path(folder), address)
            session.send_signal(signal.SIGKILL)
        eventually(lambda: trace.processes() == [] and not linked(trace.host_address))
        assert trace.folder.exists(), "only its files are left, which the next cluster removes"
        clusters().stop()
        assert (trace.groups(), trace.folder.exists()) == ([], False)
        assert node_folders() == before

    def test_process_that_outlived_its_owner(self, clusters: Clusters) -> None:
        folder = Path(tempfile.mkdtemp(prefix="atk-", dir="/tmp"))
        (folder / "owner").touch()
        argv = [sys.executable, "-c", "import time; time.sleep(600)", str(folder / "namespaces")]
        with subprocess.Popen(argv) as left:
            clusters().stop()
            assert left.wait(40) == -signal.SIGKILL
        assert not folder.exists()

    def test_standing_cluster(self, clusters: Clusters, tmp_path: Path) -> None:
        assert clusters
        folder = tmp_path / "standing"
        up, down = ([sys.executable, str(COMMAND), word, str(folder)] for word in ("up", "down"))
        first = subprocess.run(up, capture_output=True, text=True, check=True).stdout
        try:
            config = first.strip().removeprefix("export KUBECONFIG=")
            server = json.loads(Path(config).read_text())["clusters"][0]["cluster"]["server"]
            again = subprocess.run(up, capture_output=True, text=True, check=True).stdout
            assert again == first, "the cluster is up already"
            holder = int((folder / "pid").read_text())
            network = server.removeprefix("https://").rpartition(".")[0] + "."
            assert linked(network)
        finally:
            subprocess.run(down, check=True)
        eventually(lambda: str(COMMAND) not in cmdline(holder))
        assert not folder.exists()
        assert not linked(network)
        assert subprocess.run(down).returncode == 0, "without a cluster, too"
