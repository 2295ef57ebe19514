"""A cluster as the tests of servers in plain pods use it: a deployer, and a look at what is left."""

import sys
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.deployers.kubernetes.deployer import KubernetesDeployer, KubernetesSettings
from autotuner.study.launch import LaunchPlan
from support.labs.cluster import OwnCluster
from support.labs.cluster_images import PYTHON_IMAGE
from support.labs.cluster_parts import User
from support.outages import kill_first_process

_LEFT = ("jobs", "pods", "secrets")
_POLITE = """
import os, runpy, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
{ticks}
runpy.run_module("autotuner.testing.fake_server", run_name="__main__", alter_sys=True)
"""

_TICKS = """
import threading, time
def tick():
    for number in range(10**9):
        print("tick", number, flush=True)
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
"""


def needs_its_own_tmp() -> None:
    """Skips where this checkout lies below ``/tmp``: the tests' images hold it at its own path, which the writable
    ``/tmp`` of a restricted pod hides. Such tests carry the marker ``optional``."""
    if Path(autotuner.__file__).resolve().is_relative_to("/tmp"):  # noqa: S108 - a question, not a place to write
        pytest.skip("a restricted pod's /tmp hides a checkout below /tmp")


class Kube:
    """A cluster as a deployer's tests use it."""

    image = PYTHON_IMAGE

    def __init__(self, cluster: OwnCluster) -> None:
        self.cluster = cluster

    def settings(self, user: User = User.ADMIN, **changes: Any) -> dict[str, Any]:
        """Of a deployer for this cluster; keywords change them."""
        return {
            "kubeconfig": str(self.cluster.kubeconfig_for(user)),
            "image": PYTHON_IMAGE,
            "image_pull_policy": "Never",
            "loadgen_image": PYTHON_IMAGE,
            "loadgen_cpu": "50m",
            "loadgen_memory": "128Mi",
            "shm_size": "64Mi",
            "stop_grace": "1s",
            **changes,
        }

    def deployer(self, user: User = User.ADMIN, **changes: Any) -> KubernetesDeployer:
        """A deployer for this cluster."""
        return KubernetesDeployer(KubernetesSettings.model_validate(self.settings(user, **changes)))

    def objects(self, kind: str, role: str = "") -> list[dict[str, Any]]:
        """All of a kind that carry our labels, in whatever state."""
        base = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        wanted = "app.kubernetes.io/managed-by=autotuner" + (f",autotuner/role={role}" if role else "")
        path = f"{base}/namespaces/default/{kind}"
        found: list[dict[str, Any]] = self.cluster.api("GET", path, params={"labelSelector": wanted}).json()["items"]
        return found

    def left(self) -> list[str]:
        """What is there of ours."""
        return [f"{kind} {item['metadata']['name']}" for kind in _LEFT for item in self.objects(kind)]

    def pod(self, role: str = "server") -> dict[str, Any]:
        """The only pod of that role."""
        (found,) = self.objects("pods", role)
        return found

    def kill(self, role: str = "server") -> None:
        """Ends that pod's first process as SIGKILL does, from outside of the pod."""
        kill_first_process(self.pod(role))

    def polite(self, plan: LaunchPlan, *, ticks: bool = False) -> LaunchPlan:
        """The scripted server as one that ends on SIGTERM, which a container's first process otherwise ignores; each
        such test then takes two seconds less. With ``ticks`` it writes numbered lines, a hundred a second."""
        code = _POLITE.format(ticks=_TICKS if ticks else "")
        return plan.model_copy(update={"command": (sys.executable, "-c", code)})
