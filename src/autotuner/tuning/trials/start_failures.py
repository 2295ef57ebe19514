"""Start failures of any engine: faults of an installation, which no parameter cures.

The patterns match messages of CPython's import system, glibc's dynamic loader, POSIX shells and CUDA.
"""

import re
from typing import NamedTuple

from autotuner.study.failure import Failure, FailureCause

_LAST_LINES = 40
"""Lines at the end of the log that are searched: early lines may warn about packages that are optional."""
_UNSPECIFIC = frozenset({FailureCause.CRASH_LOADING, FailureCause.UNSUPPORTED_COMBINATION})
"""Causes that an engine reports for an exception that it does not know."""


class _Row(NamedTuple):
    pattern: re.Pattern[str]
    cause: FailureCause
    message: str
    remedy: str


def _row(pattern: str, cause: FailureCause, message: str, remedy: str) -> _Row:
    return _Row(re.compile(pattern, re.MULTILINE), cause, message, remedy)


_INSTALL = "install it where the server's program runs, or correct the program in the engine's section"
_ROWS = (
    _row(r"CUDA driver version is insufficient|NVIDIA driver on your system is too old|cudaErrorInsufficientDriver",
         FailureCause.DRIVER_MISMATCH, "the NVIDIA driver is too old for this server",
         "update the driver, or use a server built for an older CUDA"),
    _row(r"(?:API|NVML|kernel module)[^\n]*version mismatch|Driver/library version mismatch",
         FailureCause.DRIVER_MISMATCH, "the NVIDIA driver and its libraries are of two versions",
         "reboot, or reload the driver's kernel modules"),
    _row(r"PackageNotFoundError: .*?([\w.-]+)\s*$|No package metadata was found for ([\w.-]+)",
         FailureCause.PACKAGE_MISSING, "the Python package {} is not installed", _INSTALL),
    _row(r"No module named '?([\w.]+)", FailureCause.PACKAGE_MISSING, "the Python module {} is missing", _INSTALL),
    _row(r"error while loading shared libraries: ([^\s:]+)|(?:Import|OS)Error: (lib[^\s:]+): cannot open shared object",
         FailureCause.PACKAGE_MISSING, "the shared library {} is missing",
         "install it, or add its folder to LD_LIBRARY_PATH in engine.env"),
    _row(r"version [`'](\w+_[\d.]+)' not found", FailureCause.PACKAGE_MISSING,
         "the server needs a newer system library ({})", "use a build of the server for this system"),
    _row(r"ImportError: ([^\n]+)", FailureCause.PACKAGE_MISSING, "the server's installation is broken: {}",
         "install the server's packages again, in versions that fit"),
    _row(r"[Ee]xec format error", FailureCause.NO_BINARY, "the server's program is not built for this machine",
         "give a program built for its processor"),
    _row(r"(\S+): (?:command )?not found\s*$", FailureCause.NO_BINARY, "the program {} was not found", _INSTALL),
)  # fmt: skip
_SHELL = {
    126: ("the server's program may not be executed", "make it and what it starts executable (chmod +x)"),
    127: ("a program that starts the server was not found", _INSTALL),
}
"""Exit codes of shells: servers are often started by wrapper scripts."""


def start_failure(explained: Failure | None, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
    """The fault of the installation; None if the engine knows a cause or nothing is recognized."""
    if ready or (explained is not None and explained.cause not in _UNSPECIFIC):
        return None
    end = "\n".join([line for line in log_tail.splitlines() if line.strip()][-_LAST_LINES:])
    for row in _ROWS:
        if match := row.pattern.search(end):
            what = next((group for group in match.groups() if group), "")
            return _failure(
                row.cause, row.message.format(" ".join(what.split())[:200]), row.remedy, exit_code, log_tail
            )
    if exit_code in _SHELL:
        return _failure(FailureCause.NO_BINARY, *_SHELL[exit_code], exit_code, log_tail)
    return None


def _failure(cause: FailureCause, message: str, remedy: str, exit_code: int | None, log_tail: str) -> Failure:
    return Failure(cause=cause, message=message, remedy=remedy, exit_code=exit_code, log_tail=log_tail)
