"""Notes on the metrics of one window."""

from collections.abc import Iterator

from autotuner.net.remedies import BENCH
from autotuner.report.server_diagnosis import diagnosis, server_figures
from autotuner.study.measurement import Measurement
from autotuner.tuning.trials.no_answer_failure import error_message, error_remedy, no_answer_text


def error_messages(m: Measurement) -> dict[str, str]:
    """Returns the server's first message for each kind of error, without the status; empty if it sent none."""
    return {kind: error_message(m, kind) for kind in m.errors}


def bench_notes(m: Measurement) -> Iterator[str]:
    """Yields notes on one window, one line each."""
    where = f"! {m.scenario} {m.level.text}:"
    if m.self_check.client_limited:
        yield f"{where} client-limited: {'; '.join(m.self_check.reasons)}"
    yield from (f"{where} measured again: {one.why}" for one in m.set_aside)
    if not m.requests:
        yield f"{where} {no_answer_text(m)}; raise --duration"
    elif not m.steady and not m.overloaded:
        yield f"{where} not steady; try a longer window or warm-up"
    yield from (f"{where} insufficient data: {reason}" for reason in m.thin)
    yield from _errors(m, where)
    yield from (f"{where} {warning}" for warning in m.warnings)
    yield from _server(m, where)


def _errors(m: Measurement, where: str) -> Iterator[str]:
    for kind, count in m.errors.items():
        only = m.model_copy(update={"errors": {kind: count}})
        message = error_message(m, kind)
        yield f"{where} {count} x {kind}{f': {message}' if message else ''}; {error_remedy(only, BENCH)}"


def _server(m: Measurement, where: str) -> Iterator[str]:
    """The server's own metrics, and what they explain."""
    if m.server is None:
        return
    figures = server_figures(m.server)
    if figures:
        yield f"{where} server: {figures}"
    yield from (f"{where} server: {sentence}" for sentence in diagnosis(m))
    yield from (f"{where} server metrics: {note}" for note in m.server.notes)
