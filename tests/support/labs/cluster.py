"""A Kubernetes cluster that the test run starts in about ten seconds: etcd, control plane and one node.

All programs run in their own namespaces (``namespaces``); the only change to the machine is one network interface. Any
number of clusters can run at once, and none outlives its test run. The next cluster to start removes the files and
control groups that a killed one left.

The scheduler counts GPUs that do not exist. Images are loaded, because there is no registry. Without DNS and
kube-proxy, pods only reach each other and the API server, by address. Requires root, Debian's ``containerd runc
containernetworking-plugins busybox-static iproute2``, and the programs that ``make cluster-build`` builds.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

import autotuner
from support.labs import namespaces
from support.labs.cluster_images import BUSYBOX, image_names, write_busybox
from support.labs.cluster_parts import (
    API_SERVICE,
    CNI,
    NODE,
    PAUSE,
    Part,
    Site,
    User,
    command,
    write_files,
    write_kubeconfigs,
)
from support.labs.host import PLACE, control_groups, processes_naming

GPU = "nvidia.com/gpu"
VERSION = "v1.34.4"
_PATIENCE_S = 60.0
_PODS = "/api/v1/namespaces/default/pods"
_PREFIX = "atk-"
_OWNED = "owner"
_SUBNETS = "198.18.0.0/15"
"""Reserved for network tests (RFC 2544), so that nothing real answers after a cluster has ended."""
_DEBIAN = {"containerd": "containerd", "ctr": "containerd", "runc": "runc", BUSYBOX: "busybox-static"}
_BUILT = (*(part for part in Part if part is not Part.CONTAINERD), "kubectl")


def programs() -> Path:
    """Returns the folder of the built programs, which may not exist."""
    if folder := os.environ.get("AUTOTUNER_KUBERNETES_BIN"):
        return Path(folder)
    return Path(autotuner.__file__).resolve().parents[2] / ".cache" / "kubernetes" / VERSION


def why_not() -> str:
    """Explains why no cluster can be started here; empty if one can."""
    if why := namespaces.why_not():
        return why
    for name, package in _DEBIAN.items():
        if shutil.which(name) is None:
            return f"{name} is not installed (apt install {package})"
    if not (CNI / "bridge").exists():
        return f"no network plugins in {CNI} (apt install containernetworking-plugins)"
    missing = [name for name in _BUILT if not (programs() / name).exists()]
    return f"no {missing[0]} in {programs()} (make cluster-build, or set AUTOTUNER_KUBERNETES_BIN)" if missing else ""


class OwnCluster:
    """A cluster with one node, as a context manager; ``gpus`` is the number of GPUs that the node offers."""

    def __init__(self, *, gpus: int = 4) -> None:
        _remove_stale()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=PLACE))
        # The lock is held until this process ends, even if it is killed. Unlike a process id, it is not reused.
        self._owned = (self.folder / _OWNED).open("w")
        fcntl.flock(self._owned, fcntl.LOCK_EX)
        self.gpus = gpus
        self.node = NODE
        self._inside: namespaces.Namespaces | None = None
        self._running: dict[Part, namespaces.Program] = {}
        self._trust: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._site.kubeconfig(User.ADMIN)

    def kubeconfig_for(self, user: User) -> Path:
        """Returns the kubeconfig of a user; ``User.GUEST`` has no permissions without a role binding."""
        return self._site.kubeconfig(user)

    @property
    def address(self) -> str:
        """Address of the node and of the API server (port 443)."""
        return self.inside.address

    @property
    def host_address(self) -> str:
        """Address of this machine, as pods and the API server reach it, for webhooks and servers of the tests."""
        return self.inside.host_address

    @property
    def inside(self) -> namespaces.Namespaces:
        """The namespaces of the cluster."""
        assert self._inside is not None, "the cluster has not been started"
        return self._inside

    def start(self) -> None:
        """Starts the cluster, and waits until it can run pods. Raises ``RuntimeError`` with the failed part's log."""
        self._inside = namespaces.Namespaces(self.folder / "namespaces", _SUBNETS)
        self._inside.call("ip", "address", "add", f"{API_SERVICE}/32", "dev", "lo")
        self._site = self._make_site(self._inside)
        (self.folder / "logs").mkdir()
        write_files(self._site)
        self._launch(Part.ETCD)
        self._launch(Part.API_SERVER)
        self._launch(Part.CONTAINERD)
        self._wait(Part.CONTAINERD, self._site.containerd_socket.exists)
        archive = self.folder / "busybox.tar"
        write_busybox(archive, [PAUSE])
        self.load_image(archive)
        self._wait_for_api()
        write_kubeconfigs(self._site)
        for part in (Part.CONTROLLER_MANAGER, Part.SCHEDULER, Part.KUBELET):
            self._launch(part)
        self._wait(Part.KUBELET, self.ready)
        self.set_gpus(self.gpus)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait(Part.CONTROLLER_MANAGER, lambda: self.api("GET", account).is_success)

    def stop(self) -> None:
        """Removes programs, containers, network, control groups and the folder."""
        if self._inside is not None:
            self._inside.close()
            self._inside = None
        while self._running:
            self._running.popitem()[1].wait()
        _remove(self.folder)
        self._owned.close()

    def api(self, method: str, path: str, *, user: User = User.ADMIN, **options: Any) -> httpx.Response:
        """Makes a call of the API server."""
        if self._trust is None:
            self._trust = ssl.create_default_context(cafile=str(self._site.certificates / "apiserver.crt"))
        headers = {"Authorization": f"Bearer {self._site.tokens[user]}", **options.pop("headers", {})}
        with httpx.Client(verify=self._trust, trust_env=False, timeout=_PATIENCE_S) as client:
            return client.request(method, f"https://{self.address}{path}", headers=headers, **options)

    def kubectl(self, *arguments: str, user: User = User.ADMIN, stdin: str = "") -> str:
        """Runs kubectl and returns its stdout. Raises ``RuntimeError`` with its stderr."""
        done = subprocess.run(
            self.kubectl_argv(*arguments, user=user), input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def kubectl_argv(self, *arguments: str, user: User = User.ADMIN) -> list[str]:
        """Returns the command line of kubectl, for calls that keep running."""
        program = self._site.programs / "kubectl"
        config = self._site.kubeconfig(user)
        return [str(program), f"--kubeconfig={config}", f"--cache-dir={self.folder / 'kubectl'}", *arguments]

    def load_image(self, archive: Path) -> None:
        """Loads an archive as of ``docker save`` into the node; pods must not set ``imagePullPolicy: Always``."""
        names = image_names(archive)
        self._ctr("images", "import", f"--snapshotter={self._site.snapshotter}", str(archive))
        self._wait(Part.CONTAINERD, lambda: self._known(names))

    def create_pod(self, pod: dict[str, Any]) -> None:
        """Creates a pod in the default namespace."""
        self.api("POST", _PODS, json=pod).raise_for_status()

    def run_pod(self, pod: dict[str, Any], *, until: str = "Ready") -> dict[str, Any]:
        """Creates a pod, and returns it when it reaches a condition or phase.

        Raises:
            RuntimeError: With the pod's status if it does not reach it.
        """
        self.create_pod(pod)
        name = pod["metadata"]["name"]
        end = time.monotonic() + _PATIENCE_S
        while True:
            found = self.get_pod(name)
            status = found["status"]
            reached = {c["type"] for c in status.get("conditions", []) if c["status"] == "True"} | {status["phase"]}
            if until in reached:
                return found
            if time.monotonic() > end or reached & {"Failed", "Succeeded"}:
                raise RuntimeError(f"pod {name} did not become {until}: {json.dumps(status)}")
            time.sleep(0.1)

    def get_pod(self, name: str) -> dict[str, Any]:
        """Returns a pod of the default namespace."""
        found: dict[str, Any] = self.api("GET", f"{_PODS}/{name}").raise_for_status().json()
        return found

    def delete_pod(self, name: str) -> None:
        """Deletes a pod, and returns when it is gone."""
        self.api("DELETE", f"{_PODS}/{name}").raise_for_status()
        gone = httpx.codes.NOT_FOUND
        self._wait(Part.KUBELET, lambda: self.api("GET", f"{_PODS}/{name}").status_code == gone)

    def set_gpus(self, count: int) -> None:
        """Sets the number of GPUs that the node offers."""
        paths = [f"/status/{kind}/{GPU.replace('/', '~1')}" for kind in ("capacity", "allocatable")]
        patch = [{"op": "add", "path": path, "value": str(count)} for path in paths]
        headers = {"Content-Type": "application/json-patch+json"}
        self.api("PATCH", f"/api/v1/nodes/{NODE}/status", json=patch, headers=headers).raise_for_status()
        self.gpus = count

    def cordon(self, *, on: bool = True) -> None:
        """Makes the node unschedulable, or schedulable again."""
        headers = {"Content-Type": "application/merge-patch+json"}
        body = {"spec": {"unschedulable": on}}
        self.api("PATCH", f"/api/v1/nodes/{NODE}", json=body, headers=headers).raise_for_status()

    def ready(self) -> bool:
        """Whether the node is ready, according to the API server."""
        found = self.api("GET", f"/api/v1/nodes/{NODE}")
        conditions = found.json().get("status", {}).get("conditions", []) if found.is_success else []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def pid(self, part: Part) -> int:
        """Returns the process id of a program."""
        return self._running[part].pid

    def log(self, part: Part) -> str:
        """Returns the output of a program."""
        return (self.folder / "logs" / part).read_text(errors="replace")

    def kill(self, part: Part) -> None:
        """Sends SIGKILL to a program; its children keep running."""
        self._running.pop(part).kill()

    def freeze(self, part: Part) -> None:
        """Stops a program without ending it: its connections stay open, and it does not answer."""
        self._running[part].freeze()

    def thaw(self, part: Part) -> None:
        """Resumes a frozen program."""
        self._running[part].thaw()

    def restart(self, part: Part) -> None:
        """Restarts a program, and returns when it works."""
        if part in self._running:
            self._running.pop(part).terminate()
        since = self._renewed() if part is Part.KUBELET else ""
        self._launch(part)
        if part in (Part.ETCD, Part.API_SERVER):
            self._wait_for_api()
        elif part is Part.CONTAINERD:
            self._wait(part, lambda: bool(self._ctr("version")))
        elif part is Part.KUBELET:
            self._wait(part, lambda: self._renewed() != since and self.ready())
            self.set_gpus(self.gpus)

    def _make_site(self, inside: namespaces.Namespaces) -> Site:
        overlay = str(self.folder / "namespaces" / "overlay")
        for name in ("upper", "work", "seen"):
            (self.folder / "try" / name).mkdir(parents=True)
        upper, work, seen = (str(self.folder / "try" / name) for name in ("upper", "work", "seen"))
        snapshotter = "overlayfs"
        try:
            options = f"lowerdir={CNI},upperdir={upper},workdir={work}"
            inside.call("mount", "-t", "overlay", overlay, "-o", options, seen)
            inside.call("umount", seen)
        except RuntimeError:
            snapshotter = "native"
        return Site(
            folder=self.folder,
            programs=programs(),
            address=inside.address,
            subnet=str(inside.subnet),
            snapshotter=snapshotter,
            tokens={user: secrets.token_hex(16) for user in User},
        )

    def _launch(self, part: Part) -> None:
        env = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": str(self.folder)}
        argv = command(part, self._site)
        self._running[part] = self.inside.start(argv, self.folder / "logs" / part, env)

    def _wait(self, part: Part, done: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            with suppress(httpx.TransportError):
                if done():
                    return
            for other, program in self._running.items():
                if program.ended():
                    raise RuntimeError(f"{other} ended: {self.log(other)[-2000:]}")
            if time.monotonic() > until:
                raise RuntimeError(f"{part} did not become ready: {self.log(part)[-2000:]}")
            time.sleep(0.05)

    def _wait_for_api(self) -> None:
        certificate = self._site.certificates / "apiserver.crt"
        self._wait(Part.API_SERVER, lambda: certificate.exists() and self.api("GET", "/readyz").is_success)

    def _renewed(self) -> str:
        """Returns the time at which the kubelet last renewed its lease."""
        lease = self.api("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}").json()
        return str(lease.get("spec", {}).get("renewTime", ""))

    def _ctr(self, *arguments: str) -> str:
        return self.inside.call("ctr", "-a", str(self._site.containerd_socket), "-n", "k8s.io", *arguments)

    def _known(self, names: list[str]) -> bool:
        """Whether the kubelet can see the images, which takes a moment after containerd has imported them."""
        listed = self._ctr("images", "list").splitlines()
        managed = {line.split()[0] for line in listed if "io.cri-containerd.image=managed" in line}
        return managed.issuperset(names)


def _remove(folder: Path) -> None:
    """Removes control groups and files of a cluster whose processes have ended."""
    containers = {path.name for path in folder.glob("containerd/state/io.containerd.runtime.v2.task/k8s.io/*")}
    for group in control_groups(containers):
        with suppress(OSError):
            group.rmdir()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_stale() -> None:
    """Removes what killed test runs left. The lock of a running one is held."""
    for folder in PLACE.glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / _OWNED).open() as owned:
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A test run that was killed early may have left processes that do not end with it yet.
            for pid in processes_naming([str(folder)]):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _remove(folder)
