"""Failure of a window in which no request succeeded, with the server's own message."""

from autotuner.net.faults import COMPRESSED, HTML, NO_STREAM, NOT_STREAMING, TLS, Fault
from autotuner.net.remedies import STUDY, Options, remedy_for
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import Measurement
from autotuner.tuning.trials.cpu_noise import FOREIGN_CPU_CORES

_WHATEVER_IS_TUNED = frozenset({
    TLS, HTML, NO_STREAM, NOT_STREAMING, COMPRESSED, "http_301", "http_302", "http_307", "http_308", "http_401",
    "http_403",
})  # fmt: skip
"""Kinds of errors that no engine parameter cures."""


def unanswered(measured: Measurement) -> Failure:
    """The failure of a window in which no request succeeded. On a busy machine the environment may be at fault."""
    if measured.errors:
        cause = FailureCause.NOT_ANSWERING
        if set(measured.errors) <= _WHATEVER_IS_TUNED:
            cause = FailureCause.ENVIRONMENT
        message = f"the server runs, but no request succeeded ({errors_text(measured)})"
        return Failure(cause=cause, message=message, remedy=error_remedy(measured))
    foreign = measured.self_check.foreign_cpu_cores or 0.0
    what = no_answer_text(measured)
    if foreign > FOREIGN_CPU_CORES:
        message = f"{what}, while other processes used {foreign:.2f} CPU cores"
        remedy = "end what else runs on this machine"
        return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)
    remedy = "raise workload.duration, or lower the load"
    return Failure(cause=FailureCause.NOT_ANSWERING, message=f"the server runs, but {what}", remedy=remedy)


def errors_text(measured: Measurement) -> str:
    """``http_400 x5: temperature must be a number, timeout x1``."""
    parts = []
    for kind, count in sorted(measured.errors.items(), key=lambda item: -item[1]):
        message = error_message(measured, kind)
        parts.append(f"{kind} x{count}" + (f": {message}" if message else ""))
    return ", ".join(parts)


def error_message(measured: Measurement, kind: str) -> str:
    """The server's first message for a kind of error, without the status that is part of the kind."""
    status = kind.removeprefix("http_")
    return measured.error_messages.get(kind, "").removeprefix(f"HTTP {status}").removeprefix(": ")


def error_remedy(measured: Measurement, options: Options = STUDY) -> str:
    """Remedy for the most frequent kind of error."""
    kind = max(measured.errors, key=lambda name: measured.errors[name])
    return remedy_for(Fault(kind, measured.error_messages.get(kind, "")), options)


def no_answer_text(measured: Measurement) -> str:
    """One line saying that no request ended, and why if that is known."""
    text = f"no request ended within {measured.window_s:.3g} s"
    return text if measured.answer_s is None else f"{text}: an answer takes about {measured.answer_s:.0f} s"
