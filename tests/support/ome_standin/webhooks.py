"""The admission webhooks: a TLS server of this process, which the API server calls by its address."""

import asyncio
import base64
import json
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from support.ome_standin.admission import DeniedError, check_benchmark, check_runtime, check_service, default_service
from support.ome_standin.kube import Kube, Object
from support.ome_standin.workloads import SERVICE_LABEL
from support.ome_standin.world import World

NAME = "ome-stand-in"
_SERVER = "ome-webhook-server"
_SLOW_S = 11.0
_CHANGES = ["CREATE", "UPDATE"]


def certificate(folder: Path, name: str, address: str) -> tuple[Path, Path]:
    """A new self-signed certificate for an address, and its key: its own authority."""
    made = folder / f"{name}.crt"
    key = folder / f"{name}.key"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=ome-webhook-server",
            "-addext",
            f"subjectAltName=IP:{address}",
            "-keyout",
            str(key),
            "-out",
            str(made),
        ],
        check=True,
        capture_output=True,
    )
    return made, key


class Webhooks:
    """The server. :meth:`install` makes the API server use it."""

    def __init__(self, world: World, folder: Path, address: str) -> None:
        self._world = world
        self._folder = folder
        self._address = address
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._pair = certificate(folder, "webhook", address)

    async def start(self) -> None:
        """Listens, on the same port as before if it did."""
        app = web.Application()
        app.router.add_post("/{deed}/{kind}", self._answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._pair)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port, ssl_context=context, reuse_address=True).start()
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Refuses connections; the API server still calls."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def obey(self, fault: str) -> None:
        """Makes the server be as the fault says."""
        if fault == "down":
            await self.stop()
            return
        if self._runner is None:
            await self.start()
        trusted = self._pair[0] if fault != "x509" else certificate(self._folder, "untrusted", self._address)[0]
        await self.install(trusted)

    async def install(self, trusted: Path | None = None) -> None:
        """Registers all webhooks."""
        bundle = base64.b64encode((trusted or self._pair[0]).read_bytes()).decode()
        for kind, hooks in (("Mutating", self._mutating(bundle)), ("Validating", self._validating(bundle))):
            thing = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration"}
            await self._world.kube.ensure({**thing, "metadata": {"name": NAME}, "webhooks": hooks})

    def _mutating(self, bundle: str) -> list[Object]:
        pods = self._hook("pod", "mutate", "pods", bundle, api=("", "v1"), deeds=["CREATE"])
        chosen = {"matchExpressions": [{"key": SERVICE_LABEL, "operator": "Exists"}]}
        service = self._hook("inferenceservice", "mutate", "inferenceservices", bundle)
        return [service, {**pods, "objectSelector": chosen}]

    def _validating(self, bundle: str) -> list[Object]:
        names = ("inferenceservice", "servingruntime", "clusterservingruntime", "benchmarkjob")
        return [self._hook(name, "validate", f"{name}s", bundle) for name in names]

    def _hook(
        self,
        name: str,
        deed: str,
        plural: str,
        bundle: str,
        api: tuple[str, str] = ("ome.io", "v1beta1"),
        deeds: list[str] = _CHANGES,
    ) -> Object:
        suffix = "defaulter" if deed == "mutate" else "validator"
        return {
            "name": f"{name}.{_SERVER}.{suffix if name != 'pod' else 'pod-mutator'}",
            "clientConfig": {"url": f"https://{self._address}:{self._port}/{deed}/{plural}", "caBundle": bundle},
            "rules": [{"apiGroups": [api[0]], "apiVersions": [api[1]], "resources": [plural], "operations": deeds}],
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }

    async def _answer(self, request: web.Request) -> web.Response:
        if self._world.faults.webhook == "slow":
            await asyncio.sleep(_SLOW_S)
        asked = (await request.json())["request"]
        asked["object"]["metadata"].setdefault("namespace", asked.get("namespace", ""))
        response: dict[str, Any] = {"uid": asked["uid"], "allowed": True}
        if request.match_info["deed"] == "mutate":
            response |= _mutated(request.match_info["kind"], asked["object"])
        else:
            try:
                self._check(request.match_info["kind"], asked)
            except DeniedError as error:
                status = {"status": "Failure", "reason": "Forbidden", "code": 403, "message": str(error)}
                response |= {"allowed": False, "status": status}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return web.json_response(review)

    def _check(self, kind: str, asked: Object) -> None:
        catalog = self._world.catalog()
        checks: dict[str, Callable[[Object], None]] = {
            "inferenceservices": lambda thing: check_service(thing, catalog),
            "servingruntimes": lambda thing: check_runtime(thing, catalog),
            "clusterservingruntimes": lambda thing: check_runtime(thing, catalog),
            "benchmarkjobs": check_benchmark,
        }
        checks[kind](asked["object"])


def _mutated(kind: str, thing: Object) -> Object:
    """A JSON patch where the webhook changes something; the pod mutator is only ever in the way."""
    if kind != "inferenceservices":
        return {}
    given = json.dumps(thing, sort_keys=True)
    default_service(thing)
    if json.dumps(thing, sort_keys=True) == given:
        return {}
    patch = [{"op": "add", "path": "/spec", "value": thing["spec"]}]
    if annotations := thing["metadata"].get("annotations"):
        patch.append({"op": "add", "path": "/metadata/annotations", "value": annotations})
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


async def uninstall(kube: Kube) -> None:
    """The API server calls nobody any more."""
    for kind in ("Mutating", "Validating"):
        await kube.delete(f"{kind}WebhookConfiguration", NAME)
