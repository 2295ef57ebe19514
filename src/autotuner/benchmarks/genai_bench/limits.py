"""What genai-bench cannot measure, said before the first trial instead of being ignored in it."""

from collections.abc import Iterator, Mapping, Sequence

from autotuner.errors import Problem
from autotuner.secrets import has_secret_form, looks_secret, secrets_in
from autotuner.study.spec import StudySpec
from autotuner.study.workload import Api, Concurrency, Workload

_NATIVE = "or take benchmark: native"
_OWN_FIELDS = ("ignore_eos", "messages", "model", "stream", "stream_options", "system_message")
"""Fields of a request that it sets itself, drops or reads in another meaning."""
_OWN_OPTIONS = (
    "--api-backend", "--api-base", "--api-key", "--api-model-name", "--model", "--model-tokenizer", "--task",
    "--traffic-scenario", "--num-concurrency", "--batch-size", "--iteration-type", "--max-time-per-run",
    "--max-requests-per-run", "--experiment-base-dir", "--experiment-folder-name", "--log-dir",
    "--additional-request-params", "--model-api-key", "--warmup-ratio", "--cooldown-ratio", "--metrics-time-unit",
    "--num-workers", "--master-port", "--spawn-rate", "--upload-results", "--dataset-path", "--dataset-config",
    "--dataset-prompt-column", "--dataset-image-column", "--prefix-len", "--prefix-ratio",
)  # fmt: skip
_UNSEEN = ("itl", "itl_token", "ttft_scheduled", "e2e_latency_scheduled")
"""Metrics that need more moments than the first and the last of an answer, or a schedule."""
OWN_WORK_ABOVE = 4
"""Requests in flight above which genai-bench's own work shows in its ttft."""
ENDS_ONLY = "genai-bench tells no gaps between tokens: itl is not measured, an answer's tokens count at an even pace"
_OWN_WORK = (
    "above {} requests in flight genai-bench's own work is in its ttft: at 16 it reported 65 ms where 50 ms were true"
)
_PUBLIC = "holds a secret, and genai-bench takes it on its command line, which is public"


def own_work(in_flight: int) -> list[str]:
    """What a reader must know of genai-bench's own work at this load."""
    return [_OWN_WORK.format(OWN_WORK_ABOVE)] if in_flight > OWN_WORK_ABOVE else []


def unseen(spec: StudySpec) -> list[Problem]:
    """One problem for each objective and SLO on a metric that genai-bench does not tell."""
    goals = [(f"objective {o.text}", o.metric) for o in spec.objectives]
    goals += [(f"slo {s.text}", s.metric) for s in spec.slos]
    why = "genai-bench tells only when an answer began and ended"
    return [Problem(where=where, why=why, remedy="bound tpot") for where, name in goals if name in _UNSEEN]


def refusals(workload: Workload, backend: str, extra_args: Sequence[str]) -> list[Problem]:
    """One problem for each thing that is asked and cannot be done."""
    return [*of_load(workload), *_of_requests(workload, backend), *_of_options(extra_args)]


def of_load(workload: Workload) -> Iterator[Problem]:
    """What no genai-bench can send, whatever its options."""
    if workload.api is not Api.CHAT:
        why = "genai-bench measures text through the chat API only"
        value = workload.api.value
        yield Problem(where="workload.api", value=value, why=why, remedy=f"use chat, {_NATIVE}")
    for level in workload.levels:
        if not isinstance(level, Concurrency):
            why = "genai-bench keeps a number of requests in flight and knows no arrival rates"
            yield Problem(
                where="workload.rates", value=level.text, why=why, remedy=f"use workload.concurrency, {_NATIVE}"
            )
    for scenario in workload.scenarios:
        if scenario.dataset is not None:
            why = "genai-bench sends a dataset's prompts without bounding the answers"
            remedy = f"use D(in,out), N(..) or U(..), {_NATIVE}"
            yield Problem(where="workload.scenarios", value=scenario.text, why=why, remedy=remedy)
    if workload.prefix_tokens:
        why = "genai-bench sends no system prompt of a given length"
        value = str(workload.prefix_tokens)
        yield Problem(where="workload.prefix_tokens", value=value, why=why, remedy=f"leave it out, {_NATIVE}")
    if workload.seed:
        why = "genai-bench draws its prompts without a seed"
        value = str(workload.seed)
        yield Problem(where="workload.seed", value=value, why=why, remedy=f"leave it out, {_NATIVE}")


def _of_requests(workload: Workload, backend: str) -> Iterator[Problem]:
    if any(secrets_in(workload.extra_body)):
        yield Problem(where="workload.extra_body", why=_PUBLIC, remedy=f"leave it out, {_NATIVE}")
    if workload.ignore_eos and backend == "openai":
        why = "this backend drops ignore_eos, so that answers end where the model wants"
        remedy = "use backend vllm or sglang, or set workload.ignore_eos: false"
        yield Problem(where="benchmark.backend", value=backend, why=why, remedy=remedy)
    if not workload.ignore_eos and backend != "openai":
        why = "this backend always sends ignore_eos"
        remedy = "use backend openai, or leave workload.ignore_eos out"
        yield Problem(where="benchmark.backend", value=backend, why=why, remedy=remedy)
    for name in _OWN_FIELDS:
        if name in workload.extra_body:
            why = "genai-bench sets this field itself, or does not send it as it is"
            yield Problem(where=f"workload.extra_body.{name}", why=why, remedy=f"leave it out, {_NATIVE}")


def of_benchmark_jobs(workload: Workload) -> list[Problem]:
    """What OME's BenchmarkJob cannot have genai-bench do: it takes parameters of requests, and passes none on."""
    problems = list(of_load(workload))
    if workload.ignore_eos:
        why = "a BenchmarkJob cannot have ignore_eos sent"
        remedy = f"set workload.ignore_eos: false, {_NATIVE}"
        problems.append(Problem(where="workload.ignore_eos", value="true", why=why, remedy=remedy))
    problems += _of_body(workload.extra_body)
    for scenario in workload.scenarios:
        if scenario.output and scenario.output.kind == "fixed" and scenario.output.a == 1:
            why = "genai-bench leaves answers of one token out of its results"
            remedy = f"ask for 2 tokens or more, {_NATIVE}"
            problems.append(Problem(where="workload.scenarios", value=scenario.text, why=why, remedy=remedy))
    return problems


def _of_body(body: Mapping[str, object]) -> Iterator[Problem]:
    """What it sends anyway may be asked for, as a number or, as older tasks have it, a text."""
    for name, value in body.items():
        if name == "temperature" and _is_zero(value):
            continue
        why = "a BenchmarkJob takes parameters of requests, and passes none on to genai-bench"
        remedy = "write 0, which is what it sends" if name == "temperature" else "leave it out"
        where = f"workload.extra_body.{name}"
        yield Problem(where=where, value=str(value)[:60], why=why, remedy=f"{remedy}, {_NATIVE}")


def _is_zero(value: object) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, int | float | str) and float(value) == 0
    except ValueError:
        return False


def _of_options(extra_args: Sequence[str]) -> Iterator[Problem]:
    for argument in extra_args:
        option = argument.partition("=")[0]
        if has_secret_form(argument) or looks_secret(option):
            yield Problem(where="benchmark.extra_args", value=option, why=_PUBLIC, remedy="use benchmark.api_key_env")
        if option in _OWN_OPTIONS:
            why = "this option follows from the study, or changes what is measured"
            yield Problem(where="benchmark.extra_args", value=option, why=why, remedy="leave it out")
