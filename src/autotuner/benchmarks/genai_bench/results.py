"""Converter of genai-bench's result files into request records.

Runs that measured nothing succeed all the same, so the files are compared with the request and checked for consistency.
They state how long each request took, but not when it was sent, and only a code for failed ones. genai-bench's own
averages, percentiles and error rate are not used: the first two have other definitions, and the last is always 0.
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
    """Result of one run."""

    rows: tuple[dict[str, Any], ...]
    """Request records; each one's times are relative to when it was sent."""
    window_ns: int
    """Duration of the whole run, warm-up included."""
    version: str
    """Version of genai-bench; empty if unknown."""


def read(files: Mapping[str, bytes], scenario: Scenario, in_flight: int) -> Run:
    """The run of one scenario at one concurrency. Raises ``TrialFailedError`` (``benchmark_failed``)."""
    name, result = _result_file(files)
    totals = result.aggregated_metrics
    found = f"{totals.scenario} at {totals.num_concurrency}"
    expected = f"{scenario.text} at {in_flight}"
    if found.replace(" ", "") != expected.replace(" ", ""):
        raise ResultError(
            f"{name} belongs to another run: {found} in flight; expected {expected}", "use a separate folder"
        )
    if result.time_unit != "s":
        raise ResultError(f"{name} gives times in {result.time_unit}", "remove --metrics-time-unit from the image")
    good = [r for r in result.individual_request_metrics if not r.error_code]
    bad = [r for r in result.individual_request_metrics if r.error_code]
    _check_counts(name, totals, len(good), len(bad))
    window_ns = round(totals.run_duration * 1e9)
    rows = [_answered(name, index, request, scenario, window_ns) for index, request in enumerate(good)]
    details = {str(r.error_code): r.error_message or "" for r in bad}
    failed = (
        (code, details.get(code, "")) for code, count in totals.error_codes_frequency.items() for _ in range(count)
    )
    rows += [_unanswered(len(good) + index, code, detail) for index, (code, detail) in enumerate(failed)]
    return Run(tuple(rows), window_ns, _version(files))


def _result_file(files: Mapping[str, bytes]) -> tuple[str, _Result]:
    names = sorted(name for name in files if name != _METADATA)
    if not names:
        remedy = "see the log of its pod, or increase workload.duration so that at least one request ends"
        raise ResultError("it exited successfully without a result: no request ended", remedy)
    if len(names) > 1:
        some = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
        raise ResultError(f"found {len(names)} files instead of one result: {some}", "use a separate folder")
    try:
        return names[0], _Result.model_validate_json(files[names[0]])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        why = f"{where}: {first['msg']}" if where else first["msg"]
        raise ResultError(f"{names[0]} is not a valid result: {blanked_line(why)}", _OTHER_VERSION) from None


def _check_counts(name: str, totals: _Aggregated, good: int, bad: int) -> None:
    codes = ", ".join(f"{code} x{count}" for code, count in totals.error_codes_frequency.items())
    if totals.num_completed_requests == 0:
        what = f"none of {totals.num_requests} requests completed" + (f": errors {codes}" if codes else "")
        raise ResultError(what, "see the server's log; a vLLM server must serve the name vllm-model", log_tail=codes)
    parts = {
        "completed and failed requests": (
            totals.num_completed_requests + totals.num_error_requests,
            totals.num_requests,
        ),
        "completed requests": (good, totals.num_completed_requests),
        "failed requests": (bad or totals.num_error_requests, totals.num_error_requests),
        "error codes": (sum(totals.error_codes_frequency.values()), totals.num_error_requests),
    }
    for what, (found, stated) in parts.items():
        if found != stated:
            raise ResultError(f"counts in {name} do not add up: {found} {what}, but it states {stated}", _OTHER_VERSION)


def _answered(name: str, index: int, request: _Request, scenario: Scenario, window_ns: int) -> dict[str, Any]:
    ttft = request.ttft
    e2e = request.e2e_latency
    tokens = request.num_output_tokens
    if ttft is None or e2e is None or tokens is None or not 0 < ttft <= e2e or round(e2e * 1e9) >= window_ns:
        what = f"ttft {ttft} s, e2e_latency {e2e} s, {tokens} tokens in a run of {window_ns / 1e9:g} s"
        raise ResultError(f"{name}: request {index} is implausible: {what}", _OTHER_VERSION)
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


def _row(index: int, scenario: Scenario | None, input_tokens: int | None, output_tokens: int) -> dict[str, Any]:
    return {
        "index": index,
        "scheduled_ns": None,
        "sent_ns": 0,
        "lag_ns": 0,
        "end_ns": 0,
        "connect_ns": 0,
        "first_ns": None,
        "gaps_ns": [],
        "asked_input": _asked(scenario.input if scenario else None, input_tokens),
        "asked_output": _asked(scenario.output if scenario else None, output_tokens),
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
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


_OTHER_VERSION = "set benchmark.image to an image with another version of genai-bench"


class ResultError(TrialFailedError):
    """Result files that are not a valid measurement of the window."""

    def __init__(self, what: str, remedy: str, *, log_tail: str = "") -> None:
        message = f"genai-bench: {what}"
        super().__init__(
            Failure(cause=FailureCause.BENCHMARK_FAILED, message=message, remedy=remedy, log_tail=log_tail)
        )
