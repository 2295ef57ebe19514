"""Real OME instead of the stand-in's controllers: its manager as a local process, with its kinds and webhooks.

``scripts/build-ome.sh CHECKOUT`` creates its folder. The model agent is still the stand-in's, because OME's needs GPUs
and downloads.
"""

import asyncio
import base64
import os
import socket
from pathlib import Path
from typing import Any

import httpx

from autotuner.manifests.yaml_text import yaml_objects
from support.ome_standin.kube import Kube, Object
from support.ome_standin.settings import Settings
from support.ome_standin.webhooks import NAME, certificate

_PATIENCE_S = 60.0
_EVERY_S = 0.1
_LOG_END = 2000


def kinds(place: Path) -> list[Object]:
    """Returns OME's CustomResourceDefinitions."""
    return _objects(place / "kinds", "ome.io_*.yaml")


def configuration(place: Path) -> list[Object]:
    """Returns the ConfigMaps of a default installation."""
    return _objects(place / "configuration", "*.yaml")


def _objects(folder: Path, pattern: str) -> list[Object]:
    return [thing for file in sorted(folder.glob(pattern)) for thing in yaml_objects(file.read_text())]


class Manager:
    """OME's controllers and webhooks as a local process."""

    def __init__(self, kube: Kube, settings: Settings, folder: Path) -> None:
        self._kube = kube
        self._folder = folder
        self._place = Path(settings.real)
        self._kubeconfig = settings.kubeconfig
        self._address = settings.listen
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once its webhooks respond. Raises ``RuntimeError`` with its log."""
        served = self._folder / "k8s-webhook-server" / "serving-certs"  # controller-runtime reads them below TMPDIR
        served.mkdir(parents=True)
        made, key = certificate(self._folder, "manager", self._address)
        (served / "tls.crt").write_bytes(made.read_bytes())
        (served / "tls.key").write_bytes(key.read_bytes())
        port = _free_port()
        health = f"{self._address}:{_free_port()}"
        argv = [
            str(self._place / "manager"),
            f"--kubeconfig={self._kubeconfig}",
            "--metrics-bind-address=0",
            "--webhook",
            f"--webhook-port={port}",
            f"--health-probe-addr={health}",
        ]
        with (self._folder / "manager.log").open("wb") as log:
            environment = {**os.environ, "TMPDIR": str(self._folder)}
            self._process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log, env=environment)
        await self._ready(f"http://{health}/readyz")
        bundle = base64.b64encode(made.read_bytes()).decode()
        hooks = yaml_objects((self._place / "webhooks.yaml").read_text())
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            found = [
                self._by_address(hook, port, bundle) for one in hooks if one["kind"] == kind for hook in one["webhooks"]
            ]
            thing = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": NAME}}
            await self._kube.ensure({**thing, "webhooks": found})

    def _by_address(self, hook: dict[str, Any], port: int, bundle: str) -> Object:
        """Returns a webhook with a URL instead of a Service, which would need a kube-proxy."""
        url = f"https://{self._address}:{port}{hook['clientConfig']['service']['path']}"
        return {**hook, "clientConfig": {"url": url, "caBundle": bundle}}

    async def _ready(self, url: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S), httpx.AsyncClient(trust_env=False) as client:
                while not await _answers(client, url):
                    assert self._process is not None
                    if self._process.returncode is not None:
                        raise TimeoutError
                    await asyncio.sleep(_EVERY_S)
        except TimeoutError:
            log = (self._folder / "manager.log").read_text()
            raise RuntimeError(f"OME's manager is not ready: {log[-_LOG_END:]}") from None

    async def stop(self) -> None:
        """Stops the process."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("", 0))
        return int(listening.getsockname()[1])
