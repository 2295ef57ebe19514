"""A test cluster for servers in plain pods: a deployer, and the objects that it created."""

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
_ENDS_ON_SIGTERM = """
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
    """Skips the test if this checkout is below ``/tmp``.

    The test images contain the checkout at its own path, which the ``/tmp`` volume of a restricted pod would hide.
    Such tests have the marker ``optional``.
    """
    if Path(autotuner.__file__).resolve().is_relative_to("/tmp"):  # noqa: S108 - compared, not written to
        pytest.skip("a restricted pod's /tmp hides a checkout below /tmp")


class Kube:
    """A test cluster and its Kubernetes deployer."""

    image = PYTHON_IMAGE

    def __init__(self, cluster: OwnCluster) -> None:
        self.cluster = cluster

    def settings(self, user: User = User.ADMIN, **changes: Any) -> dict[str, Any]:
        """Returns settings of a deployer for this cluster; keywords override them."""
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
        """Returns a deployer for this cluster; keywords override its settings."""
        return KubernetesDeployer(KubernetesSettings.model_validate(self.settings(user, **changes)))

    def objects(self, kind: str, role: str = "") -> list[dict[str, Any]]:
        """Returns all objects of a kind (``pods``) that autotuner created, in any state."""
        base = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        selector = "app.kubernetes.io/managed-by=autotuner" + (f",autotuner/role={role}" if role else "")
        path = f"{base}/namespaces/default/{kind}"
        found: list[dict[str, Any]] = self.cluster.api("GET", path, params={"labelSelector": selector}).json()["items"]
        return found

    def left(self) -> list[str]:
        """Returns kind and name of all objects that autotuner created."""
        return [f"{kind} {item['metadata']['name']}" for kind in _LEFT for item in self.objects(kind)]

    def pod(self, role: str = "server") -> dict[str, Any]:
        """Returns the only pod of a role."""
        (found,) = self.objects("pods", role)
        return found

    def kill(self, role: str = "server") -> None:
        """Sends SIGKILL to the first process of the only pod of a role, from outside of the pod."""
        kill_first_process(self.pod(role))

    def polite(self, plan: LaunchPlan, *, ticks: bool = False) -> LaunchPlan:
        """Makes the scripted server end on SIGTERM, which a container's first process ignores by default.

        That saves about two seconds per test.

        Args:
            plan: A plan of the scripted server.
            ticks: Whether the server logs a hundred numbered lines per second.
        """
        code = _ENDS_ON_SIGTERM.format(ticks=_TICKS if ticks else "")
        return plan.model_copy(update={"command": (sys.executable, "-c", code)})
