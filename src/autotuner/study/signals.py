"""Signals that ended a server, and what they say about the cause."""

from signal import Signals

from autotuner.study.failure import Failure, FailureCause

FROM_OUTSIDE = frozenset({Signals.SIGKILL, Signals.SIGTERM, Signals.SIGINT, Signals.SIGHUP, Signals.SIGQUIT})
"""Signals that come from a user, a service manager or the kernel, not from the server itself."""


_SIGNALED = range(129, 129 + 64)
"""Exit codes of containers that were ended by a signal."""


def from_outside(exit_code: int | None, log_tail: str, *, ready: bool, who: str = "the server was") -> Failure | None:
    """The failure of a server that was ended by a signal from outside; None for any other end.

    SIGKILL may come from the kernel for lack of memory, or from anyone. Only a deployer has evidence for one of them (a
    control group's counter, a container's state); without it the configuration is not to blame.

    Args:
        exit_code: Negative for the signal that ended the server.
        log_tail: The end of its log, in which no cause was found.
        ready: Whether the server had answered before.
        who: Subject and verb of the message.
    """
    number = signal_of(exit_code)
    if number not in FROM_OUTSIDE:
        return None
    what = "killed by SIGKILL" if number == Signals.SIGKILL else f"terminated by {Signals(number).name}"
    return Failure(
        cause=FailureCause.ENVIRONMENT,
        message=f"{who} {what} {'under load' if ready else 'while loading'}, with no sign of a lack of memory",
        remedy="find out what sent the signal (dmesg, a service manager, another user)",
        exit_code=exit_code,
        log_tail=log_tail,
    )


def signal_of(exit_code: int | None) -> int | None:
    """The signal that ended a process, from its exit code or a shell's (128 + signal); None if no signal did."""
    if exit_code is None:
        return None
    if exit_code < 0:
        return -exit_code
    return exit_code - 128 if 128 < exit_code <= 128 + 64 else None


def container_exit_code(code: object) -> int | None:
    """A container's exit code, negative for a signal; container engines report 128 + signal. None if it is unknown."""
    if not isinstance(code, int):
        return None
    return 128 - code if code in _SIGNALED else code
