"""Credentials, namespace and proxy of a cluster, from its kubeconfig as kr8s reads it or from the tuner's own pod."""

import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

import httpx
from kr8s.asyncio import Api

from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.net.proxies import Proxy, check_proxy, proxy_for
from autotuner.study.failure import FailureCause, TrialFailedError

_IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class BearerToken(httpx.Auth):
    """Bearer authentication that renews the token once when it is no longer accepted."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        self._set_header(request)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await read_credentials(self._api)
            forget_key_files(self._api)
            self._set_header(request)
            yield request

    def _set_header(self, request: httpx.Request) -> None:
        if self._api.auth.token:
            request.headers["Authorization"] = f"Bearer {self._api.auth.token}"


async def read_credentials(api: Api) -> None:
    """Reads kubeconfig and credentials (again). Raises ``TrialFailedError``."""
    try:
        await api.auth.reauthenticate()
    except (ValueError, KeyError, IndexError, TypeError, OSError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        message = f"cannot get credentials from the kubeconfig: {why}"
        remedy = "correct deploy.kubeconfig and deploy.context; kubectl auth whoami must work with them"
        raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy) from error


def forget_key_files(api: Api) -> None:
    """Removes the temporary files with inline credentials of a kubeconfig, which kr8s writes for the TLS library.

    They are not needed once the library has read them, and nothing else removes them.
    """
    for file in (api.auth.client_key_file, api.auth.client_cert_file, api.auth.server_ca_file):
        if file and Path(file).parent == Path(gettempdir()):
            with suppress(OSError):
                Path(file).unlink()


def namespace_of(api: Api, settings: PodSettings) -> str:
    """Returns the study's namespace, else the context's, else that of the pod that the tuner runs in."""
    if settings.namespace:
        return settings.namespace
    if api.auth.active_context:
        return str(api.auth.kubeconfig.get_context(api.auth.active_context).get("namespace") or "default")
    try:
        return _IN_CLUSTER_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"


def proxy_of(api: Api) -> Proxy | None:
    """Returns the kubeconfig's proxy, else the environment's by kubectl's rules. Raises ``TrialFailedError``."""
    try:
        found = proxy_for(api.auth.server, os.environ, all_proxy=False)
        if api.auth.proxy:
            found = Proxy(url=str(api.auth.proxy), variable="proxy-url of the kubeconfig")
            check_proxy(found.url, found.variable)
    except ValueError as error:
        message = f"the Kubernetes API server cannot be reached through a proxy: {error}"
        remedy = "correct HTTPS_PROXY or the kubeconfig's proxy-url, or add the API server's address to NO_PROXY"
        raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy) from error
    return found
