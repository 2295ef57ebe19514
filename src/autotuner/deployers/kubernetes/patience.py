"""Growing pauses between tries while an API server does not answer."""

import random
import time

import anyio

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.net.proxies import Proxy
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


def lost(why: str, proxy: Proxy | None = None) -> Failure:
    """The failure that the API server, or an admission webhook that it calls, does not answer. ``proxy``: the one
    through which the API server is reached."""
    if failure_phrases.WEBHOOK_DOWN.found_in(why):
        return Failure(
            cause=FailureCause.DEPLOYER_LOST,
            message=f"an admission webhook of the cluster does not answer: {why}",
            remedy="see that the Deployment behind it runs, and that its certificate is valid",
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
        remedy="see that the cluster is up, and that deploy.kubeconfig and deploy.context name it",
    )


class Patience:
    """Pauses that grow while the API server does not answer, up to a limit."""

    def __init__(self, limit_s: float, proxy: Proxy | None = None) -> None:
        self._limit_s = limit_s
        self._proxy = proxy
        self.reset()

    def reset(self) -> None:
        """Forgets past failures and restores the shortest pause."""
        self.answered()
        self._pause_s = _FIRST_PAUSE_S

    def answered(self) -> None:
        """Restarts the limit, because the server answered, perhaps with an error; the pauses stay as they are."""
        self._since: float | None = None

    async def after(self, why: str, *, wanted_s: float = 0.0) -> None:
        """Pauses; raises ``TrialFailedError`` (``deployer_lost``) when it has not answered for too long."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._limit_s:
            raise TrialFailedError(lost(why, self._proxy))
        pause_s = self._pause_s * random.uniform(0.7, 1.3)  # noqa: S311 - spreads callers, no secret
        await anyio.sleep(max(pause_s, min(wanted_s, _LONGEST_PAUSE_S)))
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
