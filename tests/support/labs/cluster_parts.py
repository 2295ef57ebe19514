"""Programs of a Kubernetes node for tests: command lines and configuration files.

Settings differ from those of an ordinary node because the machine may have cgroups of either version, a root user
without some capabilities, and neither a registry, DNS nor a device plugin.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from support.labs.namespaces import BRIDGE

NODE = "node-1"
PAUSE = "local/pause:1"
SERVICES = "10.0.0.0/24"
API_SERVICE = "10.0.0.1"
"""First address of ``SERVICES``, at which pods reach the API server."""
CNI = Path("/usr/lib/cni")
_CONTROLLERS = "*,-node-ipam-controller,-node-route-controller,-service-lb-controller"


class Part(StrEnum):
    """A program of the cluster."""

    ETCD = "etcd"
    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    CONTAINERD = "containerd"
    KUBELET = "kubelet"


class User(StrEnum):
    """A user of the API server."""

    ADMIN = "admin"
    GUEST = "guest"
    """Has only the permissions of role bindings."""
    NODE = f"system:node:{NODE}"


_GROUPS = {User.ADMIN: "system:masters", User.GUEST: "", User.NODE: "system:nodes"}


@dataclass(frozen=True)
class Site:
    """Location of a cluster: its folder, programs, address, pod network and the users' tokens."""

    folder: Path
    programs: Path
    address: str
    subnet: str
    snapshotter: str
    tokens: Mapping[User, str] = field(repr=False)

    @property
    def certificates(self) -> Path:
        """Folder of the API server's certificates, which it creates itself."""
        return self.folder / "certificates"

    @property
    def containerd_socket(self) -> Path:
        """Socket of containerd."""
        return self.folder / "containerd.sock"

    def kubeconfig(self, user: User) -> Path:
        """Returns the path of a user's kubeconfig."""
        return self.folder / f"{user.replace(':', '-')}.kubeconfig"


def command(part: Part, site: Site) -> list[str]:
    """Returns the command line of a program."""
    if part is Part.CONTAINERD:
        return ["containerd", "--config", str(site.folder / "containerd.toml")]
    return [str(site.programs / part), *_FLAGS[part](site)]


def write_files(site: Site) -> None:
    """Writes the files that the programs read when they start."""
    lines = [f'{token},{user},{user},"{_GROUPS[user]}"' for user, token in site.tokens.items()]
    _private(site.folder / "tokens.csv", "\n".join(lines) + "\n")
    (site.folder / "containerd.toml").write_text(_containerd(site))
    (site.folder / "kubelet.json").write_text(json.dumps(_kubelet(site)))
    networks = site.folder / "cni"
    networks.mkdir()
    (networks / "pods.conflist").write_text(json.dumps(_network(site)))


def write_kubeconfigs(site: Site) -> None:
    """Writes the kubeconfig of each user; the API server must have created its certificate."""
    authority = base64.b64encode((site.certificates / "apiserver.crt").read_bytes()).decode()
    for user, token in site.tokens.items():
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": f"https://{site.address}:443", "certificate-authority-data": authority},
                },
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": "default"}}],
            "current-context": "test",
        }
        _private(site.kubeconfig(user), json.dumps(config, indent=1))


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _etcd(site: Site) -> list[str]:
    client = "http://127.0.0.1:2379"
    peer = "http://127.0.0.1:2380"
    return [
        f"--data-dir={site.folder / 'etcd'}",
        "--name=test",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=test={peer}",
    ]


def _api_server(site: Site) -> list[str]:
    key = site.certificates / "apiserver.key"
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--secure-port=443",
        f"--advertise-address={site.address}",
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={SERVICES}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        f"--token-auth-file={site.folder / 'tokens.csv'}",
        f"--cert-dir={site.certificates}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        # there is no DNS to resolve the node's name
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    ]


def _controller_manager(site: Site) -> list[str]:
    return [
        f"--kubeconfig={site.kubeconfig(User.ADMIN)}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--service-account-private-key-file={site.certificates / 'apiserver.key'}",
        f"--root-ca-file={site.certificates / 'apiserver.crt'}",
        f"--cert-dir={site.folder / 'own-certificates'}",
        f"--controllers={_CONTROLLERS}",
        "--node-monitor-period=1s",
        "--node-monitor-grace-period=12s",
        "--profiling=false",
    ]


def _scheduler(site: Site) -> list[str]:
    return [
        f"--kubeconfig={site.kubeconfig(User.ADMIN)}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--cert-dir={site.folder / 'own-certificates'}",
        "--profiling=false",
    ]


def _kubelet_flags(site: Site) -> list[str]:
    return [
        f"--config={site.folder / 'kubelet.json'}",
        f"--kubeconfig={site.kubeconfig(User.NODE)}",
        f"--root-dir={site.folder / 'kubelet'}",
        f"--cert-dir={site.folder / 'kubelet-certificates'}",
        f"--node-ip={site.address}",
        f"--hostname-override={NODE}",
    ]


_FLAGS = {
    Part.ETCD: _etcd,
    Part.API_SERVER: _api_server,
    Part.CONTROLLER_MANAGER: _controller_manager,
    Part.SCHEDULER: _scheduler,
    Part.KUBELET: _kubelet_flags,
}


def _kubelet(site: Site) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": site.address,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{site.containerd_socket}",
        "podLogsDir": str(site.folder / "logs" / "pods"),
        "volumePluginDir": str(site.folder / "kubelet" / "volume-plugins"),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "/dev/null",
        "healthzPort": 0,
        "readOnlyPort": 0,
        "maxPods": 64,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.inodesFree": "1%",
        },
    }


def _network(site: Site) -> dict[str, Any]:
    first, _, rest = site.subnet.partition("/")
    assert rest == "24", "the last address of a /24 is that of this machine"
    stem = first.rpartition(".")[0]
    pods = {"subnet": site.subnet, "rangeStart": f"{stem}.2", "rangeEnd": f"{stem}.250", "gateway": site.address}
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isDefaultGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[pods]], "dataDir": str(site.folder / "leases")},
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _containerd(site: Site) -> str:
    folder = site.folder / "containerd"
    return f"""\
version = 2
root = "{folder / "root"}"
state = "{folder / "state"}"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{site.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder / "opt"}"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "{PAUSE}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{site.snapshotter}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI}"
conf_dir = "{site.folder / "cni"}"
"""
