"""Exponential back-off while an API server does not respond."""

import random
import time

import anyio

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.net.proxies import Proxy
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


def lost(why: str, proxy: Proxy | None = None) -> Failure:
    """Returns the failure for an API server, or an admission webhook that it calls, that does not respond.

    ``proxy`` is the one through which the API server is reached.
    """
    if failure_phrases.WEBHOOK_DOWN.found_in(why):
        return Failure(
            cause=FailureCause.DEPLOYER_LOST,
            message=f"an admission webhook of the cluster does not respond: {why}",
            remedy="check that its Deployment is running and its certificate is valid",
        )
    if proxy is not None:
        return Failure(
            cause=FailureCause.DEPLOYER_LOST,
            message=f"no answer from the Kubernetes API server through {proxy.shown}: {why}",
            remedy="check the proxy, or add the API server's address or range (CIDR) to NO_PROXY",
        )
    return Failure(
        cause=FailureCause.DEPLOYER_LOST,
        message=f"no answer from the Kubernetes API server: {why}",
        remedy="check that the cluster is running, and that deploy.kubeconfig and deploy.context select it",
    )


class Patience:
    """Pauses that grow while the API server does not respond, up to a total limit."""

    def __init__(self, limit_s: float, proxy: Proxy | None = None) -> None:
        self._limit_s = limit_s
        self._proxy = proxy
        self.reset()

    def reset(self) -> None:
        """Forgets past failures and restores the shortest pause."""
        self.answered()
        self._pause_s = _FIRST_PAUSE_S

    def answered(self) -> None:
        """Restarts the total limit because the server responded, perhaps with an error; the pauses stay as they are."""
        self._since: float | None = None

    async def after(self, why: str, *, retry_after_s: float = 0.0) -> None:
        """Pauses after a failed attempt. Raises ``TrialFailedError`` (``deployer_lost``) once the limit is exceeded."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._limit_s:
            raise TrialFailedError(lost(why, self._proxy))
        pause_s = self._pause_s * random.uniform(0.7, 1.3)  # noqa: S311 - spreads callers, no secret
        await anyio.sleep(max(pause_s, min(retry_after_s, _LONGEST_PAUSE_S)))
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
