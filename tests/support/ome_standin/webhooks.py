"""Admission webhooks: a TLS server in this process that the API server calls by its address."""

import asyncio
import base64
import json
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from support.ome_standin.kube import Kube, Object
from support.ome_standin.rules.admission import (
    DeniedError,
    check_benchmark,
    check_runtime,
    check_service,
    default_service,
)
from support.ome_standin.rules.workloads import SERVICE_LABEL
from support.ome_standin.world import World

NAME = "ome-stand-in"
_SERVER = "ome-webhook-server"
_SLOW_S = 11.0
_CHANGES = ["CREATE", "UPDATE"]


def certificate(folder: Path, name: str, address: str) -> tuple[Path, Path]:
    """Creates a self-signed certificate for an address; returns the files of certificate and key."""
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
    """Server of the webhooks; :meth:`install` registers it."""

    def __init__(self, world: World, folder: Path, address: str) -> None:
        self._world = world
        self._folder = folder
        self._address = address
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._pair = certificate(folder, "webhook", address)

    async def start(self) -> None:
        """Starts listening, on the same port as before."""
        app = web.Application()
        app.router.add_post("/{action}/{kind}", self._answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._pair)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port, ssl_context=context, reuse_address=True).start()
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stops listening; the webhooks stay registered."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def apply(self, fault: str) -> None:
        """Changes the server according to the fault."""
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
        pods = self._hook("pod", "mutate", "pods", bundle, api=("", "v1"), operations=["CREATE"])
        chosen = {"matchExpressions": [{"key": SERVICE_LABEL, "operator": "Exists"}]}
        service = self._hook("inferenceservice", "mutate", "inferenceservices", bundle)
        return [service, {**pods, "objectSelector": chosen}]

    def _validating(self, bundle: str) -> list[Object]:
        names = ("inferenceservice", "servingruntime", "clusterservingruntime", "benchmarkjob")
        return [self._hook(name, "validate", f"{name}s", bundle) for name in names]

    def _hook(
        self,
        name: str,
        action: str,
        plural: str,
        bundle: str,
        api: tuple[str, str] = ("ome.io", "v1beta1"),
        operations: list[str] = _CHANGES,
    ) -> Object:
        suffix = "defaulter" if action == "mutate" else "validator"
        rule = {"apiGroups": [api[0]], "apiVersions": [api[1]], "resources": [plural], "operations": operations}
        return {
            "name": f"{name}.{_SERVER}.{suffix if name != 'pod' else 'pod-mutator'}",
            "clientConfig": {"url": f"https://{self._address}:{self._port}/{action}/{plural}", "caBundle": bundle},
            "rules": [rule],
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }

    async def _answer(self, request: web.Request) -> web.Response:
        if self._world.faults.webhook == "slow":
            await asyncio.sleep(_SLOW_S)
        review_request = (await request.json())["request"]
        review_request["object"]["metadata"].setdefault("namespace", review_request.get("namespace", ""))
        response: dict[str, Any] = {"uid": review_request["uid"], "allowed": True}
        if request.match_info["action"] == "mutate":
            response |= _mutated(request.match_info["kind"], review_request["object"])
        else:
            try:
                self._check(request.match_info["kind"], review_request)
            except DeniedError as error:
                status = {"status": "Failure", "reason": "Forbidden", "code": 403, "message": str(error)}
                response |= {"allowed": False, "status": status}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return web.json_response(review)

    def _check(self, kind: str, review_request: Object) -> None:
        catalog = self._world.catalog()
        checks: dict[str, Callable[[Object], None]] = {
            "inferenceservices": lambda thing: check_service(thing, catalog),
            "servingruntimes": lambda thing: check_runtime(thing, catalog),
            "clusterservingruntimes": lambda thing: check_runtime(thing, catalog),
            "benchmarkjobs": check_benchmark,
        }
        checks[kind](review_request["object"])


def _mutated(kind: str, thing: Object) -> Object:
    """Returns a JSON patch if the webhook changes the object; pods are never changed."""
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
    """Removes the registrations of the webhooks."""
    for kind in ("Mutating", "Validating"):
        await kube.delete(f"{kind}WebhookConfiguration", NAME)
