"""Kueue for a test cluster: its program runs beside the cluster, its CRDs and webhooks are installed in it."""

import base64
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx

from autotuner.manifests.yaml_text import yaml_objects
from support.labs.cluster import OwnCluster
from support.ome_standin.webhooks import certificate

_ROOT = Path(__file__).resolve().parents[3]
VERSION = "v0.17.0"
_PATIENCE_S = 60.0
_HEALTH = 8081
_WEBHOOK = 9443
_GROUPS = {"kueue.x-k8s.io", "batch", "apps", ""}
_CONVERTED = {"clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads"}
_API = "kueue.x-k8s.io/v1beta2"
_SYSTEM_NAMESPACES = ["kube-system", "kueue-system", "ome"]
_OTHER_NAMESPACES = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": _SYSTEM_NAMESPACES}
_METRICS = "mount -t tmpfs none /etc && mkdir -p /etc/kueue/metrics && ln -s $0 /etc/kueue/metrics/certs && exec $@"
_WITH_CERTIFICATES = ("unshare", "--mount", "sh", "-c", _METRICS)
"""Kueue requires certificates for its metrics at a fixed path below ``/etc``, so it gets an ``/etc`` of its own."""


def program_folder() -> Path:
    """Returns the output folder of ``scripts/build-kueue.sh``."""
    return Path(os.environ.get("AUTOTUNER_KUEUE") or _ROOT / ".cache" / "kueue" / VERSION)


def why_not() -> str:
    """Returns why Kueue cannot be started here; empty if it can."""
    if (program_folder() / "kueue").exists():
        return ""
    return f"no kueue in {program_folder()} (scripts/build-kueue.sh, or set AUTOTUNER_KUEUE)"


class Kueue:
    """Runs Kueue for the duration of the block.

    With ``everything``, it also suspends objects that name no queue, in all namespaces except those of the cluster, of
    Kueue and of OME.
    """

    def __init__(self, cluster: OwnCluster, *, everything: bool = False) -> None:
        self._cluster = cluster
        self._everything = everything
        self._folder = tempfile.TemporaryDirectory(prefix="kueue-")
        self._path = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        address = self._cluster.host_address
        pair = certificate(self._path, "tls", address)
        bundle = base64.b64encode(pair[0].read_bytes()).decode()
        self._install(f"https://{address}:{_WEBHOOK}", bundle)
        (self._path / "config.yaml").write_text(json.dumps(self._configuration(address)))
        argv = [
            *_WITH_CERTIFICATES,
            str(self._path),
            str(program_folder() / "kueue"),
            f"--config={self._path}/config.yaml",
            f"--kubeconfig={self._cluster.kubeconfig}",
            "--feature-gates=VisibilityOnDemand=false",
        ]
        with (self._path / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait(f"http://{address}:{_HEALTH}/readyz")
            self._wait_for_webhooks()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        for kind in ("mutating", "validating"):
            path = f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{kind}-webhook-configuration"
            self._cluster.api("DELETE", path)
        self._folder.cleanup()

    def _configuration(self, address: str) -> dict[str, Any]:
        return {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "kind": "Configuration",
            "health": {"healthProbeBindAddress": f"{address}:{_HEALTH}"},
            "metrics": {"bindAddress": "0"},
            "webhook": {"host": address, "port": _WEBHOOK, "certDir": str(self._path)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "integrations": {"frameworks": ["batch/job", "pod", "deployment"]},
            "manageJobsWithoutQueueName": self._everything,
            "managedJobsNamespaceSelector": {"matchExpressions": [_OTHER_NAMESPACES]},
        }

    def _install(self, url: str, bundle: str) -> None:
        """Installs the CRDs, and webhooks that call this machine: a Service would need a kube-proxy."""
        for file in sorted((program_folder() / "kinds").iterdir()):
            (crd,) = yaml_objects(file.read_text())
            if crd["spec"]["names"]["plural"] in _CONVERTED:
                client = {"url": f"{url}/convert", "caBundle": bundle}
                webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
                crd["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
            self._create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        self._wait_until_served(f"/apis/{_API}")
        for hooks in yaml_objects((program_folder() / "webhooks.yaml").read_text()):
            hooks["webhooks"] = [hook for hook in hooks["webhooks"] if _is_installed(hook)]
            for hook in hooks["webhooks"]:
                hook["clientConfig"] = {"url": url + hook["clientConfig"]["service"]["path"], "caBundle": bundle}
                if hook["rules"][0]["apiGroups"] != ["kueue.x-k8s.io"]:
                    hook["namespaceSelector"] = {"matchExpressions": [_OTHER_NAMESPACES]}
            plural = f"{hooks['kind'].lower()}s"
            self._create(f"/apis/admissionregistration.k8s.io/v1/{plural}", hooks)

    def _wait_until_served(self, path: str) -> None:
        count = len(list((program_folder() / "kinds").glob("*.yaml")))
        until = time.monotonic() + _PATIENCE_S
        while _kind_count(self._cluster.api("GET", path)) < count:
            assert time.monotonic() < until, "the CRDs of Kueue are not served"
            time.sleep(0.1)

    def _create(self, path: str, body: dict[str, Any]) -> None:
        response = self._cluster.api("POST", path, json=body)
        assert response.status_code in {201, 409}, response.text

    def _wait(self, url: str) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                if httpx.get(url, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Kueue is not ready: {(self._path / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _wait_for_webhooks(self) -> None:
        """Waits until an object can be created: Kueue is ready before its webhooks work."""
        flavor = {"apiVersion": _API, "kind": "ResourceFlavor", "metadata": {"name": "any"}}
        until = time.monotonic() + _PATIENCE_S
        while (response := self._cluster.api("POST", f"/apis/{_API}/resourceflavors", json=flavor)).status_code == 500:
            assert time.monotonic() < until, response.text
            time.sleep(0.2)
        assert response.status_code in {201, 409}, response.text

    def workloads(self, namespace: str) -> list[dict[str, Any]]:
        """Returns Kueue's workloads of a namespace, waiting and admitted."""
        items = self._cluster.api("GET", f"/apis/{_API}/namespaces/{namespace}/workloads").json()["items"]
        return list(items)

    def evict(self, namespace: str) -> None:
        """Evicts the only admitted workload, as for a workload of higher priority."""
        (admitted,) = [one for one in self.workloads(namespace) if "admission" in one.get("status", {})]
        path = f"/apis/{_API}/namespaces/{namespace}/workloads/{admitted['metadata']['name']}"
        headers = {"Content-Type": "application/merge-patch+json"}
        self._cluster.api("PATCH", path, json={"spec": {"active": False}}, headers=headers).raise_for_status()

    def queue(self, name: str, namespace: str, **quotas: int | str) -> None:
        """Creates a LocalQueue with a ClusterQueue of its own; quotas by resource, ``gpu`` for NVIDIA's GPUs."""
        quota = {{"gpu": "nvidia.com/gpu"}.get(key, key): value for key, value in quotas.items()}
        resources = [{"name": key, "nominalQuota": str(value)} for key, value in quota.items()]
        group = {"coveredResources": list(quota), "flavors": [{"name": "any", "resources": resources}]}
        self._create_queue("ClusterQueue", name, "", {"namespaceSelector": {}, "resourceGroups": [group]})
        self.local_queue(name, namespace)

    def local_queue(self, name: str, namespace: str) -> None:
        """Creates a LocalQueue, which is inactive without a ClusterQueue of the same name."""
        self._create_queue("LocalQueue", name, f"/namespaces/{namespace}", {"clusterQueue": name})

    def _create_queue(self, kind: str, name: str, scope: str, spec: dict[str, Any]) -> None:
        body = {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}
        self._create(f"/apis/{_API}{scope}/{kind.lower()}s", body)


def _kind_count(response: httpx.Response) -> int:
    names = [one["name"] for one in response.json()["resources"]] if response.is_success else []
    return len([name for name in names if "/" not in name])


def _is_installed(hook: dict[str, Any]) -> bool:
    """Returns whether a webhook is for jobs, pods, Deployments or Kueue's own kinds; others are not tested."""
    (rule,) = hook["rules"]
    return set(rule["apiGroups"]) <= _GROUPS and "statefulsets" not in rule["resources"]
