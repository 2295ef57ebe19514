"""Failures for objects that the API server does not accept."""

import httpx

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.deployers.kubernetes.client import RefusedError
from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.refusals import judge, not_authenticated
from autotuner.study.failure import Failure, FailureCause


def is_quota(error: RefusedError) -> bool:
    """Returns whether a ResourceQuota has no room for the object itself at the moment."""
    return pod_status.not_made(error.message).queued


def refusal(error: RefusedError, what: str, container: str = "") -> Failure:
    """Returns why an object was not accepted; ``container`` is the one in its pod."""
    message = f"{what} was refused: {error.message}"
    if failure_phrases.QUOTA_EXCEEDED.found_in(error.message):
        return pod_status.not_made(message).failure
    if error.code == httpx.codes.UNAUTHORIZED:
        return not_authenticated(error.message)
    remedy = judge(error.message, container).remedy
    if error.code == httpx.codes.NOT_FOUND:
        remedy = "create the namespace, or correct deploy.namespace"
    return Failure(cause=FailureCause.NOT_ACCEPTED, message=message, remedy=remedy)
