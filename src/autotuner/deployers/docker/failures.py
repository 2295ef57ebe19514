"""Failures of the Docker deployer: causes and remedies of Docker errors and of container exits."""

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiodocker.exceptions import DockerError

from autotuner.deployers.shared import failures
from autotuner.plugins.deployer import DeployContext
from autotuner.study import signals
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

_NO_CONNECTION = 900
"""Status that the client library uses if there was no answer."""
_FINAL = frozenset(range(400, 500)) - {404, 408, 409, 425, 429}
"""HTTP statuses that a retry would not change."""
_TOOLKIT = "install the NVIDIA Container Toolkit, then restart Docker (nvidia-ctk runtime configure --runtime=docker)"

_STARTS: tuple[tuple[str, FailureCause, str], ...] = (
    (r"no space left on device|disk quota exceeded", FailureCause.DISK_FULL,
     "free disk space in Docker's data folder (docker system df)"),
    (r"could not select device driver", FailureCause.GPU_UNAVAILABLE, _TOOLKIT),
    (r"[Uu]nknown (or invalid )?runtime (specified|name:) nvidia", FailureCause.NOT_ACCEPTED, _TOOLKIT),
    (r"[Uu]nknown (or invalid )?runtime", FailureCause.NOT_ACCEPTED, "correct deploy.runtime"),
    (r"\bCDI\b|cdi device", FailureCause.GPU_UNAVAILABLE, "generate the CDI specification (nvidia-ctk cdi generate)"),
    (r"nvidia-container-(cli|runtime)|unknown device|libnvidia|libcuda", FailureCause.GPU_UNAVAILABLE,
     "check that nvidia-smi works and lists the GPUs of deploy.gpu_ids"),
    (r"No such image|manifest unknown", FailureCause.IMAGE_MISSING, "pull the image, or set deploy.pull: missing"),
    (r"bind source path does not exist|bind mount source path does not exist", FailureCause.NOT_ACCEPTED,
     "correct deploy.volumes, or create the folder"),
    (r"port is already allocated|address already in use", FailureCause.PORT_UNAVAILABLE,
     "stop the process that listens on the port"),
    (r"argument list too long", FailureCause.INVALID_VALUE, "shorten the values"),
    (r"docker-init", FailureCause.NOT_ACCEPTED, "install docker-init (tini), or set deploy.init: false"),
    (r"exec: .*(executable file not found|no such file or directory|permission denied|is a directory)",
     FailureCause.NO_BINARY, "choose an image that contains the server, or correct the engine's command"),
    (r"error setting rlimit|rlimits", FailureCause.NOT_ACCEPTED, "lower deploy.ulimits, or set them to {}"),
    (r"network .* not found", FailureCause.NOT_ACCEPTED, "correct deploy.network, or create it: docker network create"),
    (r"Range of CPUs|Minimum memory limit", FailureCause.NOT_ACCEPTED, "correct deploy.cpus and deploy.memory"),
    (r"unable to find (user|group)|no matching entries in passwd", FailureCause.NOT_ACCEPTED, "correct deploy.user"),
    (r"unauthorized|authentication required|no basic auth|access .* denied", FailureCause.IMAGE_MISSING,
     "log in to the image's registry as the user who runs autotuner (docker login)"),
)  # fmt: skip
"""(pattern in Docker's message, cause, remedy); the first match counts."""

_INIT_FAILED = re.compile(r"^\[FATAL tini \(\d+\)\] exec (.+) failed: (.+)$", re.MULTILINE)
"""Message of the container's init (tini) if it cannot start the program."""


def engine_unreachable(error: BaseException | str) -> Failure:
    """Returns the failure (``deployer_lost``) for an engine that does not answer, or no longer."""
    cause = error.message if isinstance(error, DockerError) else str(error) or type(error).__name__
    context = error.__context__ if isinstance(error, DockerError) else None
    number = context.os_error.errno if isinstance(context, aiohttp.ClientConnectorError) else None
    remedy = "start the Docker engine, or correct deploy.docker_host"
    if number in {errno.EACCES, errno.EPERM}:
        cause = "permission denied for its socket"
        remedy = "add yourself to the group docker (sudo usermod -aG docker $USER) and log in again"
    return Failure(
        cause=FailureCause.DEPLOYER_LOST, message=f"no answer from the Docker engine: {cause}", remedy=remedy
    )


@contextmanager
def translated() -> Iterator[None]:
    """Converts connection errors into ``TrialFailedError`` (``deployer_lost``); a refusal stays a ``DockerError``."""
    try:
        yield
    except DockerError as error:
        if error.status == _NO_CONNECTION:
            raise TrialFailedError(engine_unreachable(error)) from error
        raise
    except (aiohttp.ClientError, TimeoutError, ConnectionError, json.JSONDecodeError) as error:
        raise TrialFailedError(engine_unreachable(error)) from error


def not_started(error: DockerError, what: str) -> Failure:
    """Explains why a container could not be created or started, by the engine's message.

    Args:
        error: The engine's answer.
        what: What could not be started, as the subject of the message.
    """
    message = " ".join(error.message.split())
    for pattern, cause, remedy in _STARTS:
        if re.search(pattern, message):
            return Failure(cause=cause, message=f"{what} could not be started: {message}", remedy=remedy)
    final = error.status in _FINAL
    return Failure(
        cause=FailureCause.NOT_ACCEPTED if final else FailureCause.ENVIRONMENT,
        message=f"{what} could not be started: {message}",
        remedy="correct the settings under deploy according to the engine's message",
    )


def exit_code(state: dict[str, Any]) -> int | None:
    """Returns the exit code of an ended container; negative for a signal, which Docker reports as 128 + its number."""
    return signals.container_exit_code(state.get("ExitCode"))


def ended(state: dict[str, Any], context: DeployContext, log_tail: str, *, was_ready: bool) -> Failure:
    """Explains why a container ended: by its state in the engine if that is conclusive, else by its log.

    Args:
        state: ``State`` in the output of ``docker inspect``.
        context: The trial's context, whose engine explains the log.
        log_tail: Last lines of the server's log.
        was_ready: Whether the server had become ready.
    """
    code = exit_code(state)
    if state.get("OOMKilled"):
        return Failure(
            cause=FailureCause.HOST_OUT_OF_MEMORY,
            message="the container was killed because it exceeded its memory limit",
            remedy="raise deploy.memory, or reduce the server's use of host memory",
            exit_code=code,
            log_tail=log_tail,
        )
    missing = _INIT_FAILED.search(log_tail)
    if not was_ready and code in {126, 127} and missing:
        return Failure(
            cause=FailureCause.NO_BINARY,
            message=f"{missing[1]} could not be started in the container: {missing[2]}",
            remedy="choose an image that contains the server, or correct the engine's command",
            exit_code=code,
            log_tail=log_tail,
        )
    if state.get("Error"):
        error = DockerError(0, str(state["Error"]))
        return not_started(error, "the server").model_copy(update={"exit_code": code, "log_tail": log_tail})
    return failures.ended(context, code, log_tail, was_ready=was_ready)
