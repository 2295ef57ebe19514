"""A real Kueue on a cluster of the tests: its program beside the cluster, its kinds and webhooks in it."""

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
_THEIRS = ["kube-system", "kueue-system", "ome"]
_NOT_MANAGED = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": _THEIRS}
_METRICS = "mount -t tmpfs none /etc && mkdir -p /etc/kueue/metrics && ln -s $0 /etc/kueue/metrics/certs && exec $@"
_WITH_CERTIFICATES = ("unshare", "--mount", "sh", "-c", _METRICS)
"""It insists on certificates for its figures at a path of its own, which is a folder of ours for it alone."""


def program_folder() -> Path:
    """Where ``scripts/build-kueue.sh`` puts what it builds."""
    return Path(os.environ.get("AUTOTUNER_KUEUE") or _ROOT / ".cache" / "kueue" / VERSION)


def why_not() -> str:
    """Why it cannot be started here; empty where it can."""
    if (program_folder() / "kueue").exists():
        return ""
    return f"no kueue in {program_folder()} (scripts/build-kueue.sh, or set AUTOTUNER_KUEUE)"


class Kueue:
    """Kueue for the time of the block. ``everything``: it also holds back what names no queue, in all namespaces but
    those of the cluster and of OME."""

    def __init__(self, cluster: OwnCluster, *, everything: bool = False) -> None:
        self._cluster = cluster
        self._everything = everything
        self._folder = tempfile.TemporaryDirectory(prefix="kueue-")
        self._place = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        address = self._cluster.host_address
        pair = certificate(self._place, "tls", address)
        bundle = base64.b64encode(pair[0].read_bytes()).decode()
        self._install(f"https://{address}:{_WEBHOOK}", bundle)
        (self._place / "config.yaml").write_text(json.dumps(self._configuration(address)))
        argv = [
            *_WITH_CERTIFICATES,
            str(self._place),
            str(program_folder() / "kueue"),
            f"--config={self._place}/config.yaml",
            f"--kubeconfig={self._cluster.kubeconfig}",
            "--feature-gates=VisibilityOnDemand=false",
        ]
        with (self._place / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait(f"http://{address}:{_HEALTH}/readyz")
            self._queues_can_be_made()
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
            "webhook": {"host": address, "port": _WEBHOOK, "certDir": str(self._place)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "integrations": {"frameworks": ["batch/job", "pod", "deployment"]},
            "manageJobsWithoutQueueName": self._everything,
            "managedJobsNamespaceSelector": {"matchExpressions": [_NOT_MANAGED]},
        }

    def _install(self, url: str, bundle: str) -> None:
        """Kinds, and webhooks that call this machine in place of a Service, which needs a kube-proxy."""
        for file in sorted((program_folder() / "kinds").iterdir()):
            (kind,) = yaml_objects(file.read_text())
            if kind["spec"]["names"]["plural"] in _CONVERTED:
                client = {"url": f"{url}/convert", "caBundle": bundle}
                webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
                kind["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
            self._make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kind)
        self._until_served(f"/apis/{_API}")
        for hooks in yaml_objects((program_folder() / "webhooks.yaml").read_text()):
            hooks["webhooks"] = [hook for hook in hooks["webhooks"] if _is_ours(hook)]
            for hook in hooks["webhooks"]:
                hook["clientConfig"] = {"url": url + hook["clientConfig"]["service"]["path"], "caBundle": bundle}
                if hook["rules"][0]["apiGroups"] != ["kueue.x-k8s.io"]:
                    hook["namespaceSelector"] = {"matchExpressions": [_NOT_MANAGED]}
            plural = f"{hooks['kind'].lower()}s"
            self._make(f"/apis/admissionregistration.k8s.io/v1/{plural}", hooks)

    def _until_served(self, path: str) -> None:
        count = len(list((program_folder() / "kinds").glob("*.yaml")))
        until = time.monotonic() + _PATIENCE_S
        while _kinds(self._cluster.api("GET", path)) < count:
            assert time.monotonic() < until, "Kueue's kinds are not served"
            time.sleep(0.1)

    def _make(self, path: str, thing: dict[str, Any]) -> None:
        answer = self._cluster.api("POST", path, json=thing)
        assert answer.status_code in {201, 409}, answer.text

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
                raise RuntimeError(f"Kueue is not ready: {(self._place / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _queues_can_be_made(self) -> None:
        """Ready is said before the webhooks have all they need."""
        flavor = {"apiVersion": _API, "kind": "ResourceFlavor", "metadata": {"name": "any"}}
        until = time.monotonic() + _PATIENCE_S
        while (answer := self._cluster.api("POST", f"/apis/{_API}/resourceflavors", json=flavor)).status_code == 500:
            assert time.monotonic() < until, answer.text
            time.sleep(0.2)
        assert answer.status_code in {201, 409}, answer.text

    def workloads(self, namespace: str) -> list[dict[str, Any]]:
        """What waits or runs in a namespace, as Kueue sees it."""
        found = self._cluster.api("GET", f"/apis/{_API}/namespaces/{namespace}/workloads").json()["items"]
        return list(found)

    def evict(self, namespace: str) -> None:
        """Takes the only running workload's place away, as for another one of a higher priority."""
        (found,) = [one for one in self.workloads(namespace) if "admission" in one.get("status", {})]
        path = f"/apis/{_API}/namespaces/{namespace}/workloads/{found['metadata']['name']}"
        headers = {"Content-Type": "application/merge-patch+json"}
        self._cluster.api("PATCH", path, json={"spec": {"active": False}}, headers=headers).raise_for_status()

    def queue(self, name: str, namespace: str, **quotas: int | str) -> None:
        """A queue of a namespace, with quotas of its own by resource (``gpu`` for NVIDIA's GPUs)."""
        given = {{"gpu": "nvidia.com/gpu"}.get(key, key): value for key, value in quotas.items()}
        resources = [{"name": key, "nominalQuota": str(value)} for key, value in given.items()]
        group = {"coveredResources": list(given), "flavors": [{"name": "any", "resources": resources}]}
        self._make_queue("ClusterQueue", name, "", {"namespaceSelector": {}, "resourceGroups": [group]})
        self.queue_without_place(name, namespace)

    def queue_without_place(self, name: str, namespace: str) -> None:
        """A namespace's queue; nobody made the cluster's that it refers to."""
        self._make_queue("LocalQueue", name, f"/namespaces/{namespace}", {"clusterQueue": name})

    def _make_queue(self, kind: str, name: str, where: str, spec: dict[str, Any]) -> None:
        thing = {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}
        self._make(f"/apis/{_API}{where}/{kind.lower()}s", thing)


def _kinds(answer: httpx.Response) -> int:
    names = [one["name"] for one in answer.json()["resources"]] if answer.is_success else []
    return len([name for name in names if "/" not in name])


def _is_ours(hook: dict[str, Any]) -> bool:
    """Of a kind that is here: jobs, pods, Deployments, and Kueue's own."""
    (rule,) = hook["rules"]
    return set(rule["apiGroups"]) <= _GROUPS and "statefulsets" not in rule["resources"]
