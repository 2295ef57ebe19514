"""Failures that a deployer can name without the engine."""

import errno
import re
import shutil

from autotuner.errors import EnvironmentFaultError
from autotuner.plugins.deployer import DeployContext
from autotuner.study.failure import Failure, FailureCause

_MESSAGES = {
    errno.ENOENT: (FailureCause.NO_BINARY, "install it, or correct the engine's setting"),
    errno.EACCES: (FailureCause.NO_BINARY, "make it executable for this user"),
    errno.ENOEXEC: (FailureCause.NO_BINARY, "use a program built for this machine"),
    errno.ENOSPC: (FailureCause.DISK_FULL, "make room on the disk"),
    errno.EDQUOT: (FailureCause.DISK_FULL, "make room in the disk quota"),
    errno.EMFILE: (FailureCause.ENVIRONMENT, "raise the limit of open files (ulimit -n)"),
    errno.ENFILE: (FailureCause.ENVIRONMENT, "raise the machine's limit of open files (fs.file-max)"),
    errno.ENOMEM: (FailureCause.ENVIRONMENT, "free memory on this machine"),
    errno.EAGAIN: (FailureCause.ENVIRONMENT, "raise the limit of processes (ulimit -u)"),
    errno.E2BIG: (FailureCause.INVALID_VALUE, "shorten the values"),
}


class UnusableTargetError(EnvironmentFaultError):
    """The container engine or the cluster does not answer, or lacks what the settings name. Nothing was launched."""

    def __init__(self, failure: Failure, kind: str = "") -> None:
        """``kind`` is the deployer's. The user may not have chosen it: an older task names none."""
        where = f"deploy ({kind})" if kind else "deploy"
        details = {"cause": failure.cause.value}
        super().__init__(f"{where}: {failure.message}", remedy=failure.remedy, details=details)


_PORTS = "stop the process that listens there, or set another range in deploy.ports"
_PORT_IN_USE = re.compile(
    r"^.*(address (is )?already in use|\baddress in use|EADDRINUSE|Errno 98\b|"
    r"port \d+ is (already )?(in use|occupied)).*$",
    re.IGNORECASE | re.MULTILINE,
)
"""Wordings of the C library, Python, Go, Rust, Java and Node. It may be another port than the one for requests, since
engines open more for their own processes."""
_UNEXPLAINED = frozenset({FailureCause.ENVIRONMENT, FailureCause.CRASH_LOADING, FailureCause.CRASH_UNDER_LOAD})
"""Causes that an out-of-memory kill explains better, for example that of a worker whose end took the server down."""
_MORE_MEMORY = "give the machine or container more memory, or lower what the server keeps in the host's memory"
_FULL_BYTES = 1 << 20
"""A disk with less room than this counts as full."""


def not_started(program: str, error: OSError) -> Failure:
    """Why a program could not be started, by the operating system's error."""
    cause, remedy = _MESSAGES.get(error.errno or 0, (FailureCause.ENVIRONMENT, ""))
    return Failure(cause=cause, message=f"{program} could not be started: {error.strerror or error}", remedy=remedy)


def not_written(what: str, error: OSError) -> Failure:
    """Why a file of the trial could not be written."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return Failure(
        cause=FailureCause.DISK_FULL if full else FailureCause.ENVIRONMENT,
        message=f"{what} could not be written: {error.strerror or error}",
        remedy="make room on the disk" if full else "make the folder writable",
    )


def port_taken(host: str, port: int, *, exit_code: int | None = None, log_tail: str = "") -> Failure:
    """Another program listens on the address of the server."""
    return Failure(
        cause=FailureCause.PORT_UNAVAILABLE,
        message=f"another process listens on {host}:{port}",
        remedy=_PORTS,
        exit_code=exit_code,
        log_tail=log_tail,
    )


def not_ready(seconds: float, path: str, last: str, log_tail: str) -> Failure:
    """The server is running but did not become ready in time. ``last``: the latest answer of the readiness probe."""
    return Failure(
        cause=FailureCause.START_TIMEOUT,
        message=f"not ready within {seconds:g} s; last answer of {path}: {last}",
        remedy="raise the start timeout, or lower what is allocated at start",
        log_tail=log_tail,
    )


def ended(
    context: DeployContext, code: int | None, log_tail: str, *, was_ready: bool, memory_ran_out: bool = False
) -> Failure:
    """Why a server ended by itself. A full disk, an out-of-memory kill and a port in use are recognized here,
    everything else by the engine (``context.explain``).

    Args:
        context: The trial's.
        code: Exit code, negative for a signal; None if unknown.
        log_tail: The end of the server's log.
        was_ready: Whether the server had been ready before.
        memory_ran_out: Whether the kernel killed one of its processes for lack of memory.
    """
    try:
        full = shutil.disk_usage(context.folder).free < _FULL_BYTES
    except OSError:
        full = False
    if full:
        message = "the server exited because the disk is full"
        remedy = "make room on the disk"
        return Failure(cause=FailureCause.DISK_FULL, message=message, remedy=remedy, exit_code=code, log_tail=log_tail)
    failure = context.explain(code, log_tail, was_ready)
    if memory_ran_out and failure.cause in _UNEXPLAINED:
        message = f"out of memory: the kernel killed the server {'under load' if was_ready else 'while loading'}"
        return failure.model_copy(
            update={"cause": FailureCause.HOST_OUT_OF_MEMORY, "message": message, "remedy": _MORE_MEMORY}
        )
    if not was_ready and failure.cause is FailureCause.CRASH_LOADING and (match := _PORT_IN_USE.search(log_tail)):
        message = f"the server exited because a port that it needs is in use: {match[0].strip()[:200]}"
        return failure.model_copy(update={"cause": FailureCause.PORT_UNAVAILABLE, "message": message, "remedy": _PORTS})
    return failure
