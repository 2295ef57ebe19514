"""Evaluation of request records into a Measurement. Pure: the same records always yield the same figures.

``docs/reference/metrics.md`` defines what counts and where a window begins and ends; this module implements that page.
Percentiles are computed over pooled values, never averaged.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from autotuner.benchmarks.loadgen.processes.lags import allowed_lag_s
from autotuner.benchmarks.measuring import uncertainty
from autotuner.benchmarks.measuring.backlog import Arrival, overload_reason
from autotuner.benchmarks.measuring.distribution import distribution
from autotuner.benchmarks.measuring.population import (
    FIRST_TOKEN_METRICS,
    NS,
    ONE_PIECE_METRICS,
    WHOLE_ANSWER_METRICS,
    Floats,
    Population,
    Request,
    classify,
)
from autotuner.benchmarks.measuring.rates import Output, output_of, rates_of, slo_test
from autotuner.benchmarks.measuring.records import Records, RunInfo
from autotuner.benchmarks.measuring.requirements import Limits, Requirements
from autotuner.benchmarks.measuring.slices import window_groups, window_slices
from autotuner.benchmarks.measuring.steadiness import check_steadiness, tokens_by_half
from autotuner.benchmarks.measuring.unanswered_stats import expected_answer_s, first_messages
from autotuner.study.measurement import OVERLOADED, Distribution, Measurement, SelfCheck
from autotuner.study.metric import fewest_samples
from autotuner.study.objective import metric_text
from autotuner.study.workload import VARYING, Stages

_LENGTH_TOLERANCE = 0.1
"""Relative difference between requested and actual prompt lengths that is not worth a warning."""
_SHORT_ANSWER = 0.98
_UNTIMED = "the load generator does not report when requests were sent: it is unknown whether the window was steady"

_COLLAPSE = 0.5
"""Difference between the rates of a window's halves, relative to their mean, above which the window decides nothing."""


def summarize(records: Records, *, name: str | None = None) -> Measurement:
    """Computes the figures of a window.

    Args:
        records: Its request records, with dumped :class:`Requirements` in ``records.where``.
        name: File name of the records.
    """
    requirements = Requirements.model_validate(records.where)
    info = records.info
    window_s = info.window_ns * NS
    population = classify(records)
    counted = population.counted
    successes = population.successes
    distributions = _distributions(population, info)
    output = output_of(population, info)
    groups = window_groups(population, requirements)
    meets = slo_test(requirements, groups)
    scalars = rates_of(population, output, meets, info)
    check = _self_check(records, requirements.limits, distributions)
    steady, drift = _steadiness(population, requirements, info, output)
    # Stages may exceed what the server takes for a while; their latencies do not depend on the window's length. Nor do
    # those of a replay that is tested as a whole.
    whole = requirements.test is not None and requirements.test.replayed is not None
    overload = None if whole or isinstance(requirements.level, Stages) else _overload(population, window_s)
    spread = {} if info.untimed else _uncertainty(population, requirements, output, window_s)
    return Measurement(
        scenario=requirements.scenario,
        level=requirements.level,
        window_s=window_s,
        requests=len(counted),
        failed=len(counted) - len(successes),
        arrived=len(counted) if info.untimed else sum(r.arrived for r in population.requests),
        distributions=distributions,
        scalars=scalars,
        errors=dict(Counter(r.row["error"] for r in counted if not r.ok)),
        error_messages=first_messages(records.columns),
        answer_s=None if counted else expected_answer_s([r.row for r in population.requests], requirements.scenario),
        token_source=_token_source(successes),
        self_check=check,
        steady=steady and overload is None,
        overloaded=overload is not None,
        thin=_thin(requirements, len(successes), None if info.untimed else output, window_s),
        uncertainty=spread,
        warnings=(
            *([overload] if overload else ()),
            *_unsupported(requirements, distributions),
            *drift,
            *_warnings(records, population),
            *info.notes,
        ),
        slices=window_slices(population, groups, meets, info, lambda part: _distributions(part, info)),
        decision=requirements.decision,
        records=name,
        started_at=info.begin_epoch_s,
    )


def _unsupported(requirements: Requirements, distributions: Mapping[str, Distribution]) -> list[str]:
    """Warnings about required statistics of too few requests."""
    return [
        f"{metric_text(metric, statistic)} of {distributions[metric].count} requests: a {statistic} needs at least "
        f"{fewest_samples(statistic)}"
        for metric, statistic in requirements.figures
        if statistic and metric in distributions and not distributions[metric].carries(statistic)
    ]


def _steadiness(
    population: Population, requirements: Requirements, info: RunInfo, output: Output
) -> tuple[bool, list[str]]:
    """Whether the window was steady, and the reasons if it was not."""
    if isinstance(requirements.level, VARYING):
        return True, []  # the load changes over time by itself
    if info.untimed:
        return True, [_UNTIMED]
    latency = "ttft" if info.answers == "streamed" else "e2e_latency"
    latencies = [(r.row["end_ns"] * NS, r.values[latency]) for r in population.requests if r.ended]
    return check_steadiness(output.chunks, latencies, info.window_ns * NS, unit=output.unit, latency=latency)


def _uncertainty(
    population: Population, requirements: Requirements, output: Output, window_s: float
) -> dict[str, float]:
    """Relative half-width of the 95% interval of each rate, and of each required figure."""
    ended = np.array([r.row["end_ns"] * NS for r in population.requests if r.ended])
    requests = uncertainty.of_rate(ended, np.ones(len(ended)), window_s)
    half_widths = {"request_throughput": requests}
    if output.tokens:
        tokens = uncertainty.of_rate(*uncertainty.pool_chunks(output.chunks), window_s)
        half_widths |= {"output_throughput": tokens, "output_throughput_per_gpu": tokens}
    if any(r.row["documents"] for r in population.requests):
        half_widths["document_throughput"] = requests  # all requests have the same number
    for metric, statistic in requirements.figures:
        if statistic is not None and metric in (*FIRST_TOKEN_METRICS, *WHOLE_ANSWER_METRICS):
            values, censored = population.values(metric)
            name = metric_text(metric, statistic)
            if statistic == "mean" and not censored:
                half_widths[name] = uncertainty.of_mean(values)
            elif statistic.startswith("p"):
                half_widths[name] = uncertainty.of_percentile(values, float(statistic[1:]) / 100, censored=censored)
    return {name: value for name, value in half_widths.items() if value is not None}


def _thin(requirements: Requirements, finished: int, output: Output | None, window_s: float) -> tuple[str, ...]:
    """Why the window does not support the required figures."""
    reasons = []
    if finished < requirements.fewest:
        reasons.append(f"{finished} finished requests, at least {requirements.fewest} are needed")
    first, second = (0.0, 0.0) if output is None else tokens_by_half(output.chunks, window_s)
    allowed = max(_COLLAPSE, 4 / math.sqrt(max(finished, 1)))
    varying = isinstance(requirements.level, VARYING)
    if requirements.fewest and not varying and abs(second - first) > allowed * (first + second) / 2:
        unit = "" if output is None else output.unit
        rates = f"from {first / window_s * 2:.0f} to {second / window_s * 2:.0f} {unit}"
        reasons.append(f"throughput went {rates} within the window")
    return tuple(reasons)


def _overload(population: Population, window_s: float) -> str | None:
    if not population.open_loop:
        return None
    arrivals = [
        Arrival(
            scheduled=r.row["scheduled_ns"] * NS,
            end=r.row["end_ns"] * NS,
            first=None if r.row["first_ns"] is None else r.row["first_ns"] * NS,
            known=not (r.running or r.timed_out),
        )
        for r in population.requests
        if r.row["scheduled_ns"] is not None
    ]
    reason = overload_reason(arrivals, window_s)
    return f"{OVERLOADED}: {reason}; latencies grow with the length of the window" if reason else None


def _distributions(population: Population, info: RunInfo) -> dict[str, Distribution]:
    names = (*FIRST_TOKEN_METRICS, *WHOLE_ANSWER_METRICS) if info.answers == "streamed" else ONE_PIECE_METRICS
    pooled = {name: population.values(name) for name in names}
    gapped = [r for r in population.answering() if len(r.gaps)]
    if gapped and not info.ends_only:
        pooled["itl"] = np.concatenate([r.gaps for r in gapped]), 0
        pooled["itl_token"] = np.concatenate([_token_gaps(r) for r in gapped]), 0
    return {name: distribution(*values) for name, values in pooled.items() if len(values[0]) or values[1]}


def _token_gaps(request: Request) -> Floats:
    """Divides each gap among the tokens of the later chunk, and counts it once per token."""
    share = max(request.tokens_per_chunk, 1.0)
    return np.repeat(request.gaps / share, round(share))


def _self_check(records: Records, limits: Limits, distributions: Mapping[str, Distribution]) -> SelfCheck:
    info = records.info
    columns = records.columns
    window_s = info.window_ns * NS
    sent = [i for i, at in enumerate(columns["sent_ns"]) if 0 <= at < info.window_ns]
    lags = [max(0, columns["lag_ns"][i] - columns["connect_ns"][i]) * NS for i in sent]
    send_lag = float(np.percentile(lags, 99)) if lags else 0.0
    latency = distributions.get("ttft") or distributions.get("e2e_latency")
    allowed = allowed_lag_s(limits.lag_s, limits.lag_share, latency.p50 if latency else None)
    reasons = []
    for what, lag in (("event loop lag", info.loop_lag_p99_s), ("send lag", send_lag)):
        if lag > allowed:
            reasons.append(f"p99 {what} of {_exceeding(lag * 1000, allowed * 1000)}")
    # One busy process among several is not the limit: what it delays shows in the lags.
    too_busy = info.client_cpu_cores > limits.cpu_cores * info.workers
    if too_busy:
        of = "one CPU core" if info.workers == 1 else f"{info.workers} CPU cores"
        reasons.append(f"the load generator used {info.client_cpu_cores:.2f} of {of}")
    if info.file_limit is not None:
        reasons.append(f"the load generator ran out of open files (limit {info.file_limit}): raise it with ulimit -n")
    scheduled = info.scheduled_in_window
    if len(sent) < limits.rate_share * scheduled and scheduled - len(sent) > 1:  # one may fall on the window's edge
        reasons.append(f"only {len(sent)} of {scheduled} scheduled requests were sent")
    return SelfCheck(
        loop_lag_p99_s=info.loop_lag_p99_s,
        send_lag_p99_s=send_lag,
        asked_rate=info.asked_rate,
        achieved_rate=len(sent) / window_s if info.asked_rate is not None else None,
        client_cpu_cores=info.client_cpu_cores,
        foreign_cpu_cores=info.foreign_cpu_cores,
        client_limited=bool(reasons),
        reasons=tuple(reasons),
        lagged=bool(reasons) and not too_busy and info.file_limit is None,
        tpot_lag_s=_tpot_lag_s(records),
    )


def _tpot_lag_s(records: Records) -> float | None:
    """How far lags of the event loop may move a TPOT: it is a mean over the gaps of an answer, of which only the first
    and the last moment matter."""
    columns = records.columns
    # The first requests of a closed loop are shortened, and no part of a latency.
    answers = zip(columns["complete"], columns["ramp"], columns["output_tokens"], strict=True)
    fewest = min((tokens for complete, ramp, tokens in answers if complete and not ramp and tokens > 1), default=None)
    return None if fewest is None else records.info.loop_lag_p99_s / (fewest - 1)


def _exceeding(ms: float, allowed_ms: float) -> str:
    """With as many decimals as it takes to tell the two apart."""
    digits = next((n for n in (1, 2, 3) if round(ms, n) != round(allowed_ms, n)), 6)
    return f"{ms:.{digits}f} ms exceeds {allowed_ms:.{digits}f} ms"


def _censored(population: Population) -> list[str]:
    """A warning about requests that the load generator stopped watching before they ended."""
    if population.open_loop:
        running = [r for r in population.requests if r.arrived and r.running]
    else:
        running = [r for r in population.overdue(population.successes) if r.running]
    if not running:
        return []
    arrived = sum(r.arrived for r in population.requests)
    shortest = min(r.watched_s for r in running)
    which = f"{len(running)} request{'' if len(running) == 1 else 's'}"
    if population.open_loop:
        which = f"{len(running)} of the {arrived} requests"
    return [
        f"{which} that arrived in the window had not ended when the load generator stopped waiting, after "
        f"{shortest:.1f} s or more: their latency is unknown and ranks above all others"
    ]


def _usage_warnings(successes: Sequence[Request]) -> list[str]:
    """Warnings about token counts that do not come from the server's usage, with the reason."""
    warnings = []
    source = _token_source(successes)
    by = "by the tokenizer" if source == "tokenizer" else "as one token per chunk"
    implausible = [r for r in successes if r.row["usage_output"] is not None and not _by_usage(r)]
    if implausible:
        reported = implausible[0].row["usage_output"]
        chunks = len(implausible[0].gaps) + 1
        warnings.append(
            f"usage of {len(implausible)} of {len(successes)} answers contradicts the stream "
            f"({reported} tokens for an answer of {chunks} chunks): counted {by} instead"
        )
    elif source == "unknown":
        warnings.append("the server reports no usage: without a tokenizer, the number of output tokens is not known")
    elif source == "chunks":
        warnings.append("the server reports no usage: each chunk counts as one token")
    no_prompt = sum(r.row["usage_input"] is not None and r.row["input_tokens"] is None for r in successes)
    if no_prompt:
        warnings.append(
            f"usage of {no_prompt} of {len(successes)} answers reports 0 prompt tokens: "
            "the requested length was used instead"
        )
    return warnings


def _by_usage(request: Request) -> bool:
    source: str = request.row["token_source"]
    return source == "usage"


def _token_source(successes: Sequence[Request]) -> str:
    """The least reliable source of token counts among the successes."""
    sources = {r.row["token_source"] for r in successes}
    return next((s for s in ("none", "unknown", "chunks", "tokenizer") if s in sources), "usage")


def _warnings(records: Records, population: Population) -> list[str]:
    successes = population.successes
    warnings = _censored(population)
    if records.info.left_out_s:
        start = f"{records.info.left_out_s:.1f} s of load after the warm-up"
        lagged = records.info.left_out_lagged
        warnings.append(
            f"{start}, in which the load generator lagged, are left out"
            if lagged
            else f"{start} had not settled and are left out"
        )
    # Nothing is known in advance about the prompts of a dataset, which may be part of a mix.
    reported = [r.row for r in successes if r.row["input_tokens"] is not None and r.row["asked_input"]]
    asked = sum(row["asked_input"] for row in reported)
    actual = sum(row["input_tokens"] for row in reported)
    if asked and abs(actual / asked - 1) > _LENGTH_TOLERANCE:
        mean = actual / len(reported)
        warnings.append(f"prompts had {mean:.0f} tokens on average, {asked / len(reported):.0f} were requested")
    elif records.info.exact_prompts:
        off = [abs(row["input_tokens"] - row["asked_input"]) for row in reported if row["asked_input"]]
        wrong = sum(difference > 0 for difference in off)
        if wrong:
            by = f"by up to {max(off)} token{'' if max(off) == 1 else 's'}"
            warnings.append(f"{wrong} of {len(off)} prompts differ from the requested length, {by}")
    asked_output = sum(r.row["asked_output"] for r in successes)
    output = sum(r.row["output_tokens"] for r in successes)
    if asked_output and output < _SHORT_ANSWER * asked_output:
        mean = output / len(successes)
        warnings.append(f"answers had {mean:.0f} tokens on average, {asked_output / len(successes):.0f} were requested")
    warnings += _usage_warnings(successes)
    sent = [r for r in population.requests if r.arrived]
    reused = sum(r.row["reused"] is True for r in sent)
    if reused:
        warnings.append(
            f"{reused / len(sent):.0%} of the requests sent in this window had been sent to this server before: "
            "a prefix cache may have improved the results"
        )
    return warnings
