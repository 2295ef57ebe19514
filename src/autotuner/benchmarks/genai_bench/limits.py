"""Limits of genai-bench: what it cannot measure is refused before the first trial instead of being ignored."""

from collections.abc import Iterator, Mapping, Sequence

from autotuner.errors import Problem
from autotuner.secrets import has_secret_form, looks_secret, secrets_in
from autotuner.study.spec import StudySpec
from autotuner.study.workload import Api, CapacityLoad, Concurrency, RequestRate, Stages, TraceSpeed, Users, Workload

_NATIVE = "or use benchmark: native"
_OWN_FIELDS = ("ignore_eos", "messages", "model", "stream", "stream_options", "system_message")
"""Request fields that genai-bench sets itself, drops or interprets differently."""
_OWN_OPTIONS = (
    "--api-backend", "--api-base", "--api-key", "--api-model-name", "--model", "--model-tokenizer", "--task",
    "--traffic-scenario", "--num-concurrency", "--batch-size", "--iteration-type", "--max-time-per-run",
    "--max-requests-per-run", "--experiment-base-dir", "--experiment-folder-name", "--log-dir",
    "--additional-request-params", "--model-api-key", "--warmup-ratio", "--cooldown-ratio", "--metrics-time-unit",
    "--num-workers", "--master-port", "--spawn-rate", "--upload-results", "--dataset-path", "--dataset-config",
    "--dataset-prompt-column", "--dataset-image-column", "--prefix-len", "--prefix-ratio",
)  # fmt: skip
_UNMEASURABLE = ("itl", "itl_token", "ttft_scheduled", "e2e_latency_scheduled")
"""Metrics that need a schedule, or more times than those of the first and the last token."""
OVERHEAD_ABOVE = 4
"""Requests in flight above which genai-bench's own overhead distorts its ttft."""
ENDS_ONLY = (
    "genai-bench reports no gaps between tokens: itl is not measured, and the tokens of an answer count at an even pace"
)
_OVERHEAD = (
    "above {} requests in flight, ttft includes overhead of genai-bench itself: at 16 it reported 65 ms where 50 ms "
    "were true"
)
_PUBLIC = "contains a secret, which genai-bench would receive on its command line, where others can read it"


def overhead_notes(in_flight: int) -> list[str]:
    """Remarks about the overhead of genai-bench itself at this load."""
    return [_OVERHEAD.format(OVERHEAD_ABOVE)] if in_flight > OVERHEAD_ABOVE else []


def unmeasurable(spec: StudySpec) -> list[Problem]:
    """One problem for each objective and SLO on a metric that genai-bench does not report."""
    goals = [(f"objective {o.text}", o.metric) for o in spec.objectives]
    goals += [(f"slo {s.text}", s.metric) for s in spec.slos]
    why = "genai-bench reports only first- and last-token times"
    return [
        Problem(where=where, why=why, remedy=f"use tpot instead, {_NATIVE}")
        for where, name in goals
        if name in _UNMEASURABLE
    ]


def refusals(workload: Workload, backend: str, extra_args: Sequence[str]) -> list[Problem]:
    """One problem for each part of a study that genai-bench does not support.

    Args:
        workload: The study's workload.
        backend: Value of ``--api-backend``.
        extra_args: Additional options of ``genai-bench benchmark``.
    """
    return [*load_refusals(workload), *_request_refusals(workload, backend), *_option_refusals(extra_args)]


_KEYS: dict[type, str] = {
    RequestRate: "rates",
    Stages: "stages",
    TraceSpeed: "speeds",
    CapacityLoad: "load",
    Users: "users",
}


def load_refusals(workload: Workload) -> Iterator[Problem]:
    """Parts of a load that genai-bench cannot send, whatever its options."""
    if workload.api is not Api.CHAT:
        why = "genai-bench uses only the chat API for text"
        value = workload.api.value
        yield Problem(where="workload.api", value=value, why=why, remedy=f"use chat, {_NATIVE}")
    if not workload.stream:
        why = "genai-bench always streams"
        yield Problem(where="workload.stream", value="false", why=why, remedy=f"remove it, {_NATIVE}")
    for level in workload.levels:
        if not isinstance(level, Concurrency):
            why = "genai-bench has no open loop; it keeps a fixed number of requests in flight"
            if isinstance(level, CapacityLoad):
                why = "genai-bench cannot end a window as soon as its load is decided"
            yield Problem(
                where=f"workload.{_KEYS[type(level)]}",
                value=level.text,
                why=why,
                remedy=f"use workload.concurrency, {_NATIVE}",
            )
    for scenario in workload.scenarios:
        if scenario.dataset is not None:
            why = "genai-bench does not bound the output length of a dataset's prompts"
            remedy = f"use D(in,out), N(..) or U(..), {_NATIVE}"
            yield Problem(where="workload.scenarios", value=scenario.text, why=why, remedy=remedy)
        if scenario.mix or scenario.model is not None or scenario.images is not None:
            why = "genai-bench sends one kind of request to one model, and here only text"
            remedy = f"measure the parts one by one, {_NATIVE}"
            yield Problem(where="workload.scenarios", value=scenario.text, why=why, remedy=remedy)
        if scenario.prefixes is not None:
            why = "genai-bench sends no shared prefixes of given popularity"
            remedy = f"remove the prefixes, {_NATIVE}"
            yield Problem(where="workload.scenarios", value=scenario.text, why=why, remedy=remedy)
    if workload.prefix_tokens:
        why = "genai-bench sends no system prompt of a given length"
        value = str(workload.prefix_tokens)
        yield Problem(where="workload.prefix_tokens", value=value, why=why, remedy=f"remove it, {_NATIVE}")
    if workload.seed:
        why = "genai-bench draws its prompts without a seed"
        value = str(workload.seed)
        yield Problem(where="workload.seed", value=value, why=why, remedy=f"remove it, {_NATIVE}")


def _request_refusals(workload: Workload, backend: str) -> Iterator[Problem]:
    if any(secrets_in(workload.extra_body)):
        yield Problem(where="workload.extra_body", why=_PUBLIC, remedy=f"remove it, {_NATIVE}")
    if workload.ignore_eos and backend == "openai":
        why = "this backend drops ignore_eos, so answers may end early"
        remedy = "use backend vllm or sglang, or set workload.ignore_eos: false"
        yield Problem(where="benchmark.backend", value=backend, why=why, remedy=remedy)
    if not workload.ignore_eos and backend != "openai":
        why = "this backend always sends ignore_eos"
        remedy = "use backend openai, or remove workload.ignore_eos"
        yield Problem(where="benchmark.backend", value=backend, why=why, remedy=remedy)
    for name in _OWN_FIELDS:
        if name in workload.extra_body:
            why = "genai-bench sets this field itself, or does not send it unchanged"
            yield Problem(where=f"workload.extra_body.{name}", why=why, remedy=f"remove it, {_NATIVE}")


def benchmark_job_refusals(workload: Workload) -> list[Problem]:
    """Parts of a workload that OME's BenchmarkJob does not support; it accepts request parameters but ignores them."""
    problems = list(load_refusals(workload))
    if workload.ignore_eos:
        why = "a BenchmarkJob cannot send ignore_eos"
        remedy = f"set workload.ignore_eos: false, {_NATIVE}"
        problems.append(Problem(where="workload.ignore_eos", value="true", why=why, remedy=remedy))
    problems += _body_refusals(workload.extra_body)
    for scenario in workload.scenarios:
        if scenario.output and scenario.output.kind == "fixed" and scenario.output.a == 1:
            why = "genai-bench omits answers of one token from its results"
            remedy = f"request at least 2 tokens, {_NATIVE}"
            problems.append(Problem(where="workload.scenarios", value=scenario.text, why=why, remedy=remedy))
    return problems


def _body_refusals(body: Mapping[str, object]) -> Iterator[Problem]:
    """Fields other than a temperature of 0, which genai-bench sends anyway. Older tasks write it as a string."""
    for name, value in body.items():
        if name == "temperature" and _is_zero(value):
            continue
        why = "a BenchmarkJob does not pass request parameters on to genai-bench"
        remedy = "set it to 0, which genai-bench sends" if name == "temperature" else "remove it"
        where = f"workload.extra_body.{name}"
        yield Problem(where=where, value=str(value)[:60], why=why, remedy=f"{remedy}, {_NATIVE}")


def _is_zero(value: object) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, int | float | str) and float(value) == 0
    except ValueError:
        return False


def _option_refusals(extra_args: Sequence[str]) -> Iterator[Problem]:
    for argument in extra_args:
        option = argument.partition("=")[0]
        if has_secret_form(argument) or looks_secret(option):
            yield Problem(where="benchmark.extra_args", value=option, why=_PUBLIC, remedy="use benchmark.api_key_env")
        if option in _OWN_OPTIONS:
            why = "this option is managed by autotuner, or changes what is measured"
            yield Problem(where="benchmark.extra_args", value=option, why=why, remedy="remove it")
