"""Failure for an ended server: the engine's own explanation first, then what is known about any program."""

from autotuner.plugins.engine import Engine
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.signals import from_outside
from autotuner.tuning.trials.start_failures import start_failure


def explain(engine: Engine, exit_code: int | None, tail: str, *, ready: bool) -> Failure:
    """The failure of a server that ended by itself.

    Args:
        engine: Explains its own server's messages.
        exit_code: Exit code of the server's process, negative for a signal; None if it is unknown.
        tail: The last lines of the server's log.
        ready: Whether the server had answered before it ended.
    """
    found = engine.explain(exit_code, tail, ready=ready)
    found = start_failure(found, exit_code, tail, ready=ready) or found
    if found is not None:
        return found.replaced(log_tail=found.log_tail or tail)
    if outside := from_outside(exit_code, tail, ready=ready):
        return outside
    if ready and exit_code == 0:  # what most servers do on SIGTERM
        return Failure(
            cause=FailureCause.ENVIRONMENT,
            message="the server shut down under load with exit code 0, as after a request to stop",
            remedy="find out what stopped it (a service manager, another user)",
            exit_code=exit_code,
            log_tail=tail,
        )
    exited = "exited" if exit_code is None else f"exited with code {exit_code}"
    return Failure(
        cause=FailureCause.CRASH_UNDER_LOAD if ready else FailureCause.CRASH_LOADING,
        message=f"the server {exited} {'under load' if ready else 'while loading'}",
        remedy="read the last lines of its log",
        exit_code=exit_code,
        log_tail=tail,
    )
