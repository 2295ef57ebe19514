"""Checks of the API server, the namespace and the permissions of an account."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import httpx

from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.refusals import not_authenticated
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import Failure

_MINIMUM = (1, 27)
"""First version with strict field validation."""
_SERVER = "API server"
_CANNOT = re.compile(r'cannot (\w+) resource "([^"]+)"(?: in API group "([^"]*)")?')
_ALLOW = "allow them to read arguments from the running process and to distinguish lost nodes from slow servers"


@dataclass(frozen=True)
class Right:
    """A verb on a resource, ``needed`` or only recommended."""

    verb: str
    resource: str
    group: str = ""
    needed: bool = True
    cluster_wide: bool = False
    namespace: str = ""
    """A namespace other than the servers'."""
    why: str = ""
    """What it is for, where that is not obvious."""

    @property
    def text(self) -> str:
        """The permission as messages show it: verb, resource, API group and namespace."""
        group = f" ({self.group})" if self.group else ""
        purpose = f" ({self.why})" if self.why else ""
        return f"{self.verb} {self.resource}{group}{purpose}" + (f" in {self.namespace}" if self.namespace else "")


def pod_rights(settings: PodSettings) -> list[Right]:
    """Returns the permissions that every deployer with servers in pods uses."""
    rights = [Right(verb, "pods") for verb in ("get", "list", "watch")]
    rights += [Right("get", "pods/log"), Right("list", "events"), Right("watch", "events")]
    if settings.load == "job":
        rights += [Right(verb, "jobs", "batch") for verb in ("create", "get", "delete")]
        rights += [Right("create", "secrets"), Right("delete", "secrets")]
    tunnel = settings.load == "port-forward"
    rights += [Right(verb, "pods/portforward", needed=tunnel) for verb in ("get", "create")]
    rights += [Right(verb, "pods/exec", needed=False) for verb in ("get", "create")]
    rights += [Right("create", "pods", needed=False, why="dry runs"), Right("list", "limitranges", needed=False)]
    return rights


def unreachable(failure: Failure) -> Check:
    """Returns the only check that is possible without a cluster."""
    return Check.fail("kubernetes", failure.message, remedy=failure.remedy)


async def version(cluster: Cluster, minimum: tuple[int, int] = _MINIMUM) -> Check:
    """Checks whether the API server is new enough."""
    try:
        found = await cluster.get("/version")
    except RefusedError as error:
        if error.code == httpx.codes.UNAUTHORIZED:
            return unreachable(not_authenticated(error.message))
        remedy = "correct the credentials that deploy.kubeconfig names (kubectl auth whoami)"
        return Check.fail("kubernetes", f"access refused: {error.message}", remedy=remedy)
    numbers = tuple(int(re.sub(r"\D.*", "", str(found.get(part))) or 0) for part in ("major", "minor"))
    detail = f"{_SERVER} {found.get('gitVersion')}"
    if numbers >= minimum:
        return Check.ok("kubernetes", detail)
    return Check.fail("kubernetes", detail, remedy=f"Kubernetes {minimum[0]}.{minimum[1]} or newer is needed")


def denied(reached: Check) -> bool:
    """Returns whether the API server refuses every call of this account."""
    return reached.status is CheckStatus.FAIL and not reached.detail.startswith(_SERVER)


async def namespace(cluster: Cluster) -> Check:
    """Checks that the namespace exists and is not being deleted."""
    remedy = f"kubectl create namespace {cluster.namespace}, or correct deploy.namespace"
    try:
        found = await cluster.find(f"/api/v1/namespaces/{cluster.namespace}")
    except RefusedError:
        return Check.ok("namespace", f"{cluster.namespace} (not checked: get namespaces is not allowed)")
    if found is None:
        return Check.fail("namespace", f"{cluster.namespace} does not exist", remedy=remedy)
    if (found.get("status") or {}).get("phase") == "Terminating":
        return Check.fail("namespace", f"{cluster.namespace} is being deleted", remedy=remedy)
    return Check.ok("namespace", cluster.namespace)


async def rights(cluster: Cluster, wanted: Sequence[Right], why_allow: str = _ALLOW) -> list[Check]:
    """Returns a check of the needed permissions, and a warning if recommended ones are missing.

    ``why_allow`` is the remedy of the warning.
    """
    answers: dict[Right, bool] = {}

    async def ask(right: Right) -> None:
        answers[right] = await _allowed(cluster, right)

    async with anyio.create_task_group() as tasks:
        for right in wanted:
            tasks.start_soon(ask, right)
    lacking = {need: [r.text for r in wanted if r.needed is need and not answers[r]] for need in (True, False)}
    found = []
    if lacking[True]:
        remedy = f"give the tuner's account a role with these verbs in namespace {cluster.namespace}"
        found.append(Check.fail("rights", f"not allowed: {', '.join(lacking[True])}", remedy=remedy))
    else:
        found.append(Check.ok("rights", f"{sum(r.needed for r in wanted)} verbs"))
    if lacking[False]:
        found.append(
            Check.warn("rights", f"recommended but not allowed: {', '.join(lacking[False])}", remedy=why_allow)
        )
    return found


async def _allowed(cluster: Cluster, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource}
    if not right.cluster_wide:
        attributes["namespace"] = right.namespace or cluster.namespace
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        response = await cluster.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    except RefusedError:
        return False
    return bool(response["status"].get("allowed"))


def not_checked(name: str, error: RefusedError) -> Check:
    """Returns the check for an object that could not be read.

    A missing permission says nothing about the object itself, so it is only a warning.
    """
    match = _CANNOT.search(error.message) if error.code == httpx.codes.FORBIDDEN else None
    if match is None:
        return Check.fail(name, f"cannot be read: {error.message}", remedy="check the health of the cluster")
    group = f" ({match[3]})" if match[3] else ""
    return Check.warn(
        name, f"not checked: {match[1]} {match[2]}{group} is not allowed", remedy="allow it to enable the check"
    )
