"""Why no request of a window succeeded."""

import pytest

from autotuner.study.failure import Blame, FailureCause
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.workload import Concurrency
from autotuner.tuning.trials.no_answer_failure import unanswered


def measured(errors: dict[str, int], messages: dict[str, str] | None = None, **changes: object) -> Measurement:
    failed = sum(errors.values())
    found = Measurement(
        scenario="D(4,4)",
        level=Concurrency(in_flight=1),
        window_s=2.0,
        requests=failed,
        failed=failed,
        errors=errors,
        error_messages=messages or {},
    )
    return found.model_copy(update=changes)


def test_the_servers_message_is_in_the_failure() -> None:
    failure = unanswered(measured({"timeout": 1, "http_400": 5}, {"http_400": "HTTP 400: temperature is not a number"}))
    assert "http_400 x5: temperature is not a number" in failure.message
    assert "timeout x1" in failure.message
    assert "extra_body" in failure.remedy
    assert "length" not in failure.remedy


def test_lengths_are_named_where_the_message_is_about_them() -> None:
    failure = unanswered(measured({"http_400": 5}, {"http_400": "HTTP 400: maximum context length is 4096 tokens"}))
    assert failure.cause is FailureCause.NOT_ANSWERING
    assert "context size" in failure.remedy


@pytest.mark.parametrize("kind", ["http_401", "http_403", "tls", "html", "not_streaming"])
def test_what_no_parameter_cures_is_not_the_configurations_fault(kind: str) -> None:
    assert unanswered(measured({kind: 3})).blame is Blame.ENVIRONMENT
    assert unanswered(measured({kind: 3, "http_500": 1})).blame is Blame.CONFIGURATION


def test_answers_longer_than_the_window() -> None:
    failure = unanswered(measured({}, answer_s=31.4))
    assert "about 31 s" in failure.message
    assert "duration" in failure.remedy
    busy = unanswered(measured({}, self_check=SelfCheck(foreign_cpu_cores=2.0)))
    assert busy.cause is FailureCause.ENVIRONMENT
