"""What a signal that ended a server says about who is to blame."""

from signal import Signals

from autotuner.study.failure import Failure, FailureCause

FROM_OUTSIDE = frozenset({Signals.SIGKILL, Signals.SIGTERM, Signals.SIGINT, Signals.SIGHUP, Signals.SIGQUIT})
"""Signals that no server sends itself for want of anything: a person, a service manager or the kernel did."""


_SIGNALED = range(129, 129 + 64)
"""Exit codes of containers that a signal ended."""


def from_outside(exit_code: int | None, log_tail: str, *, ready: bool, who: str = "the server was") -> Failure | None:
    """The failure of a server that was ended by such a signal and says nothing of a cause; None for any other end.

    The kernel kills with SIGKILL when memory runs out, and so does anyone else. Only a deployer can see which it was
    (a control group's counter, a container's state); without such evidence the configuration is not to blame.
    """
    number = signal_of(exit_code)
    if number not in FROM_OUTSIDE:
        return None
    what = "killed by SIGKILL" if number == Signals.SIGKILL else f"ended by {Signals(number).name}"
    return Failure(
        cause=FailureCause.ENVIRONMENT,
        message=f"{who} {what} {'under load' if ready else 'while loading'}, with no sign of a lack of memory",
        remedy="find out what ended it (dmesg, a service manager, another user)",
        exit_code=exit_code,
        log_tail=log_tail,
    )


def signal_of(exit_code: int | None) -> int | None:
    """The signal that ended a process, from its own code or a shell's; None where no signal did."""
    if exit_code is None:
        return None
    if exit_code < 0:
        return -exit_code
    return exit_code - 128 if 128 < exit_code <= 128 + 64 else None


def container_exit_code(code: object) -> int | None:
    """The exit code of an ended container; negative for a signal, which container engines report as 128 plus it."""
    if not isinstance(code, int):
        return None
    return 128 - code if code in _SIGNALED else code
