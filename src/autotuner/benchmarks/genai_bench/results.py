"""From the files that a run of genai-bench wrote to request records; a run that measured nothing is not taken for one.

Such a run ends well all the same, so what its files say is held against what was asked and against itself. The files
tell how long each request took, but not when it was sent, and of failed ones a code alone. Its own averages, its
percentiles and its error rate are not used: the first two are of other definitions, the last is always 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotuner.plain_text import blanked_line
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.workload import Scenario, TokenLengths

_METADATA = "experiment_metadata.json"
_HTTP_ERRORS = range(400, 600)
_MOST_NAMES = 5


class _Part(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


class _Request(_Part):
    ttft: float | None = None
    e2e_latency: float | None = None
    num_input_tokens: int | None = None
    num_output_tokens: int | None = None
    error_code: int | str | None = None
    error_message: str | None = None


class _Aggregated(_Part):
    scenario: str
    num_concurrency: int
    run_duration: float = Field(gt=0)
    num_requests: int
    num_completed_requests: int
    num_error_requests: int
    error_codes_frequency: Mapping[str, int] = Field(default_factory=dict)


class _Result(_Part):
    aggregated_metrics: _Aggregated
    individual_request_metrics: tuple[_Request, ...]
    time_unit: str = Field(default="s", alias="_time_unit")


class _Metadata(_Part):
    benchmark_version: str = ""


@dataclass(frozen=True)
class Run:
    """What one run measured."""

    rows: tuple[dict[str, Any], ...]
    """Request records; times from a begin that is 0 for each of them."""
    window_ns: int
    """Its whole run, warm-up included."""
    version: str
    """Of genai-bench; empty where it does not say."""


def read(files: Mapping[str, bytes], scenario: Scenario, in_flight: int) -> Run:
    """The run of one scenario at one concurrency. Raises ``TrialFailedError`` (``benchmark_failed``)."""
    name, result = _the_result(files)
    told = result.aggregated_metrics
    found = f"{told.scenario} at {told.num_concurrency}"
    asked = f"{scenario.text} at {in_flight}"
    if found.replace(" ", "") != asked.replace(" ", ""):
        raise ResultError(
            f"{name} is of another run: {found} in flight, and {asked} was asked", "use a folder of its own"
        )
    if result.time_unit != "s":
        raise ResultError(f"{name} counts time in {result.time_unit}", "leave --metrics-time-unit out of the image")
    good = [r for r in result.individual_request_metrics if not r.error_code]
    bad = [r for r in result.individual_request_metrics if r.error_code]
    _check_counts(name, told, len(good), len(bad))
    window_ns = round(told.run_duration * 1e9)
    rows = [_answered(name, index, request, scenario, window_ns) for index, request in enumerate(good)]
    details = {str(r.error_code): r.error_message or "" for r in bad}
    failed = ((code, details.get(code, "")) for code, count in told.error_codes_frequency.items() for _ in range(count))
    rows += [_unanswered(len(good) + index, code, detail) for index, (code, detail) in enumerate(failed)]
    return Run(tuple(rows), window_ns, _version(files))


def _the_result(files: Mapping[str, bytes]) -> tuple[str, _Result]:
    names = sorted(name for name in files if name != _METADATA)
    if not names:
        remedy = "see the log of its pod; raise workload.duration, so that at least one request ends in it"
        raise ResultError("it ended well and wrote no result: no request ended", remedy)
    if len(names) > 1:
        some = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
        raise ResultError(f"{len(names)} files where one result was expected: {some}", "use a folder of its own")
    try:
        return names[0], _Result.model_validate_json(files[names[0]])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        why = f"{where}: {first['msg']}" if where else first["msg"]
        raise ResultError(f"{names[0]} is no result of genai-bench: {blanked_line(why)}", _OTHER_VERSION) from None


def _check_counts(name: str, told: _Aggregated, good: int, bad: int) -> None:
    codes = ", ".join(f"{code} x{count}" for code, count in told.error_codes_frequency.items())
    if told.num_completed_requests == 0:
        what = f"no request of {told.num_requests} completed" + (f": errors {codes}" if codes else "")
        raise ResultError(what, "see the server's log; a vLLM server must serve the name vllm-model", log_tail=codes)
    parts = {
        "completed and failed requests": (told.num_completed_requests + told.num_error_requests, told.num_requests),
        "requests that completed": (good, told.num_completed_requests),
        "requests that failed": (bad or told.num_error_requests, told.num_error_requests),
        "error codes": (sum(told.error_codes_frequency.values()), told.num_error_requests),
    }
    for what, (found, said) in parts.items():
        if found != said:
            raise ResultError(f"the counts of {name} do not add up: {found} {what}, and it says {said}", _OTHER_VERSION)


def _answered(name: str, index: int, request: _Request, scenario: Scenario, window_ns: int) -> dict[str, Any]:
    ttft = request.ttft
    e2e = request.e2e_latency
    tokens = request.num_output_tokens
    if ttft is None or e2e is None or tokens is None or not 0 < ttft <= e2e or round(e2e * 1e9) >= window_ns:
        what = f"ttft {ttft} s, e2e_latency {e2e} s, {tokens} tokens in a run of {window_ns / 1e9:g} s"
        raise ResultError(f"{name}: request {index} cannot be: {what}", _OTHER_VERSION)
    first_ns = round(ttft * 1e9)
    end_ns = round(e2e * 1e9)
    row = _row(index, scenario, request.num_input_tokens, tokens)
    if tokens < 1:
        return row | {"end_ns": end_ns, "error": "empty"}
    gaps = [end_ns - first_ns] if tokens > 1 else []
    return row | {"first_ns": first_ns, "end_ns": end_ns, "gaps_ns": gaps, "complete": True}


def _unanswered(index: int, code: str, detail: str) -> dict[str, Any]:
    http = code.isdigit() and int(code) in _HTTP_ERRORS
    kind = f"http_{code}" if http else "stream_error"
    text = blanked_line(detail)[:200] or ("" if http else f"error {code}")
    return _row(index, None, None, 0) | {"error": kind, "detail": text}


def _row(index: int, scenario: Scenario | None, put_in: int | None, put_out: int) -> dict[str, Any]:
    return {
        "index": index,
        "scheduled_ns": None,
        "sent_ns": 0,
        "lag_ns": 0,
        "end_ns": 0,
        "connect_ns": 0,
        "first_ns": None,
        "gaps_ns": [],
        "asked_input": _asked(scenario.input if scenario else None, put_in),
        "asked_output": _asked(scenario.output if scenario else None, put_out),
        "input_tokens": put_in,
        "output_tokens": put_out,
        "token_source": "tokenizer",
        "complete": False,
        "ramp": False,
        "error": None,
        "detail": "",
    }


def _asked(lengths: TokenLengths | None, found: int | None) -> int:
    return lengths.a if lengths and lengths.kind == "fixed" else found or 0


def _version(files: Mapping[str, bytes]) -> str:
    try:
        return _Metadata.model_validate_json(files.get(_METADATA, b"{}")).benchmark_version
    except ValidationError:
        return ""


_OTHER_VERSION = "name an image with another version of genai-bench in benchmark.image"


class ResultError(TrialFailedError):
    """Result files that cannot be used as the measurement of a window."""

    def __init__(self, what: str, remedy: str, *, log_tail: str = "") -> None:
        message = f"genai-bench: {what}"
        super().__init__(
            Failure(cause=FailureCause.BENCHMARK_FAILED, message=message, remedy=remedy, log_tail=log_tail)
        )
