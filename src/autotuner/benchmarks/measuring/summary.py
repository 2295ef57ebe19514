"""Request records -> Measurement. Pure: the same records always give the same figures.

What counts, and where a window begins and ends, is defined in ``docs/reference/metrics.md``; this module is that page
in code. Percentiles are taken over pooled values, never averaged.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autotuner.benchmarks.measuring import uncertainty
from autotuner.benchmarks.measuring.backlog import Arrival, overloaded
from autotuner.benchmarks.measuring.distribution import distribution
from autotuner.benchmarks.measuring.population import FIRST, WHOLE, Floats, Population, Request, S, population
from autotuner.benchmarks.measuring.records import Records
from autotuner.benchmarks.measuring.requirements import Asked, Limits
from autotuner.benchmarks.measuring.steadiness import drifted, halves
from autotuner.benchmarks.measuring.unanswered_stats import expected_answer_s, first_messages
from autotuner.study.measurement import Distribution, Measurement, SelfCheck
from autotuner.study.metric import METRICS, fewest_samples
from autotuner.study.objective import Comparison, metric_text

_OFF_LENGTH = 0.1
_SHORT_ANSWER = 0.98
_UNTIMED = "the load generator does not tell when requests were sent: whether the window was steady is not known"


_COLLAPSE = 0.5
"""Difference between the rates of a window's halves, relative to their mean, above which the window decides nothing."""


def summarize(records: Records, *, name: str | None = None) -> Measurement:
    """The window's figures. ``name`` is that of the records' file. ``records.where`` is a dumped :class:`Asked`."""
    asked = Asked.model_validate(records.where)
    info = records.info
    window_s = info.window_ns * S
    found = population(records)
    counted = found.counted
    good = found.good
    distributions = _distributions(found, gaps=not info.ends_only)
    output, scalars = _rates(found, asked, info.window_ns)
    check = _self_check(records, asked.limits, distributions)
    steady = True
    drift = [_UNTIMED]
    if not info.untimed:
        ended = [r for r in found.requests if r.ended]
        steady, drift = drifted(output, [(r.row["end_ns"] * S, r.values["ttft"]) for r in ended], window_s)
    overload = _overload(found, window_s)
    spread = {} if info.untimed else _uncertainty(found, asked, output, window_s)
    beyond = [
        f"{metric_text(metric, statistic)} of {distributions[metric].count} requests: a {statistic} needs at least "
        f"{fewest_samples(statistic)}"
        for metric, statistic in asked.figures
        if statistic and metric in distributions and not distributions[metric].carries(statistic)
    ]
    return Measurement(
        scenario=asked.scenario,
        level=asked.level,
        window_s=window_s,
        requests=len(counted),
        failed=len(counted) - len(good),
        arrived=len(counted) if info.untimed else sum(r.arrived for r in found.requests),
        distributions=distributions,
        scalars=scalars,
        errors=dict(Counter(r.row["error"] for r in counted if not r.ok)),
        error_messages=first_messages(records.columns),
        answer_s=None if counted else expected_answer_s([r.row for r in found.requests], asked.scenario),
        token_source=_token_source(good),
        self_check=check,
        steady=steady and overload is None,
        overloaded=overload is not None,
        thin=_thin(asked, len(good), () if info.untimed else output, window_s),
        uncertainty=spread,
        warnings=(*([overload] if overload else ()), *beyond, *drift, *_warnings(records, found), *info.notes),
        records=name,
        started_at=info.begin_epoch_s,
    )


def _uncertainty(
    found: Population, asked: Asked, output: Sequence[tuple[Floats, float]], window_s: float
) -> dict[str, float]:
    """Relative half-width of the 95% interval of each rate, and of each figure that is asked for."""
    moments, tokens = uncertainty.joined(output)
    ended = np.array([r.row["end_ns"] * S for r in found.requests if r.ended])
    told = {
        "output_throughput": uncertainty.of_rate(moments, tokens, window_s),
        "request_throughput": uncertainty.of_rate(ended, np.ones(len(ended)), window_s),
    }
    told["output_throughput_per_gpu"] = told["output_throughput"]
    for metric, statistic in asked.figures:
        if statistic is not None and metric in (*FIRST, *WHOLE):
            values, censored = found.values(metric)
            name = metric_text(metric, statistic)
            if statistic == "mean" and not censored:
                told[name] = uncertainty.of_mean(values)
            elif statistic.startswith("p"):
                told[name] = uncertainty.of_percentile(values, float(statistic[1:]) / 100, censored=censored)
    return {name: value for name, value in told.items() if value is not None}


def _thin(asked: Asked, finished: int, output: Sequence[tuple[Floats, float]], window_s: float) -> tuple[str, ...]:
    """Why the window cannot carry what is asked of it."""
    reasons = []
    if finished < asked.fewest:
        reasons.append(f"{finished} requests finished, and {asked.fewest} are needed")
    first, second = halves(output, window_s)
    allowed = max(_COLLAPSE, 4 / math.sqrt(max(finished, 1)))
    if asked.fewest and abs(second - first) > allowed * (first + second) / 2:
        rates = f"from {first / window_s * 2:.0f} to {second / window_s * 2:.0f} tokens/s"
        reasons.append(f"throughput went {rates} within the window")
    return tuple(reasons)


def _overload(found: Population, window_s: float) -> str | None:
    if not found.open_loop:
        return None
    arrivals = [
        Arrival(
            scheduled=r.row["scheduled_ns"] * S,
            end=r.row["end_ns"] * S,
            first=None if r.row["first_ns"] is None else r.row["first_ns"] * S,
            known=not (r.running or r.timed_out),
        )
        for r in found.requests
        if r.row["scheduled_ns"] is not None
    ]
    why = overloaded(arrivals, window_s)
    return f"overloaded: {why}; latencies grow with the length of the window" if why else None


def _distributions(found: Population, *, gaps: bool) -> dict[str, Distribution]:
    pooled = {name: found.values(name) for name in (*FIRST, *WHOLE)}
    gapped = [r for r in found.answering() if len(r.gaps)]
    if gapped and gaps:
        pooled["itl"] = np.concatenate([r.gaps for r in gapped]), 0
        pooled["itl_token"] = np.concatenate([_token_gaps(r) for r in gapped]), 0
    return {name: distribution(*values) for name, values in pooled.items() if len(values[0]) or values[1]}


def _token_gaps(request: Request) -> Floats:
    """Each gap once per token of the later chunk, divided among them."""
    share = max(request.tokens_a_chunk, 1.0)
    return np.repeat(request.gaps / share, round(share))


def _rates(found: Population, asked: Asked, window_ns: int) -> tuple[list[tuple[Floats, float]], dict[str, float]]:
    """Per request its chunk times (s) and tokens a chunk inside the window; and the window's scalars."""
    window_s = window_ns * S
    counted = found.counted
    ended = [r for r in found.requests if r.ended]
    output: list[tuple[Floats, float]] = []
    prompt_tokens = 0
    for request in found.requests:
        row = request.row
        if row["error"] is not None or row["first_ns"] is None:
            continue
        times = row["first_ns"] * S + np.concatenate(([0.0], np.cumsum(request.gaps)))
        inside = times[(times >= 0) & (times < window_s)]
        output.append((inside, request.tokens_a_chunk))
        if 0 <= row["first_ns"] < window_ns:
            prompt_tokens += row["asked_input"] if row["input_tokens"] is None else row["input_tokens"]
    tokens = sum(len(times) * each for times, each in output)
    scalars = {
        "output_throughput": tokens / window_s,
        "input_throughput": prompt_tokens / window_s,
        "total_throughput": (tokens + prompt_tokens) / window_s,
        "request_throughput": len(ended) / window_s,
        "goodput": sum(map(_meets(asked), ended)) / window_s,
    }
    if counted:
        scalars["success_rate"] = sum(r.ok for r in counted) / len(counted)
    return output, scalars


def _meets(asked: Asked) -> Callable[[Request], bool]:
    """Whether a request meets every per-request SLO of this window; one whose metric does not exist for it (``tpot`` of
    a one-token answer) meets that one."""
    bounds = [
        slo
        for slo in asked.slos
        if slo.statistic is None
        and METRICS[slo.metric].distribution
        and slo.at in (None, asked.level.text)
        and slo.scenario in (None, asked.scenario)
    ]

    def meets(request: Request) -> bool:
        for slo in bounds:
            value = request.values.get(slo.metric, request.values.get(slo.metric.removesuffix("_scheduled")))
            if value is None:
                continue
            if value > slo.threshold if slo.comparison is Comparison.LE else value < slo.threshold:
                return False
        return True

    return meets


def _self_check(records: Records, limits: Limits, distributions: Mapping[str, Distribution]) -> SelfCheck:
    info = records.info
    columns = records.columns
    window_s = info.window_ns * S
    sent = [i for i, at in enumerate(columns["sent_ns"]) if 0 <= at < info.window_ns]
    lags = [max(0, columns["lag_ns"][i] - columns["connect_ns"][i]) * S for i in sent]
    send_lag = float(np.percentile(lags, 99)) if lags else 0.0
    ttft = distributions.get("ttft")
    allowed = max(limits.lag_s, limits.lag_share * ((ttft.p50 if ttft else None) or 0.0))
    reasons = []
    for what, lag in (("event loop lag", info.loop_lag_p99_s), ("send lag", send_lag)):
        if lag > allowed:
            reasons.append(f"p99 {what} {lag * 1000:.1f} ms is over {allowed * 1000:.1f} ms")
    if info.client_cpu_cores > limits.cpu_cores:
        reasons.append(f"the load generator used {info.client_cpu_cores:.2f} of one core")
    wanted = info.scheduled_in_window
    if len(sent) < limits.rate_share * wanted and wanted - len(sent) > 1:
        reasons.append(f"{len(sent)} of {wanted} scheduled requests were sent")
    return SelfCheck(
        loop_lag_p99_s=info.loop_lag_p99_s,
        send_lag_p99_s=send_lag,
        asked_rate=info.asked_rate,
        achieved_rate=len(sent) / window_s if info.asked_rate is not None else None,
        client_cpu_cores=info.client_cpu_cores,
        foreign_cpu_cores=info.foreign_cpu_cores,
        client_limited=bool(reasons),
        reasons=tuple(reasons),
    )


def _censored(who: Population) -> list[str]:
    """Requests that the load generator stopped watching before they ended."""
    running = [r for r in who.requests if r.arrived and r.running] if who.open_loop else who.overdue(who.good)
    running = [r for r in running if r.running]
    if not running:
        return []
    arrived = sum(r.arrived for r in who.requests)
    shortest = min(r.watched_s for r in running)
    of = f"{len(running)} of the {arrived} requests" if who.open_loop else f"{len(running)} requests"
    return [
        f"{of} that arrived in the window had not ended when the load generator stopped waiting, after {shortest:.1f} "
        "s or more: their latency is unknown and ranks above all others"
    ]


def _usage_warnings(good: Sequence[Request]) -> list[str]:
    """Where the token counts do not come from the server's usage, and why."""
    found = []
    source = _token_source(good)
    by = "by the tokenizer" if source == "tokenizer" else "as one token per chunk"
    wrong = [r for r in good if r.row["usage_output"] is not None and not _by_usage(r)]
    if wrong:
        told = wrong[0].row["usage_output"]
        chunks = len(wrong[0].gaps) + 1
        example = f"{told} tokens for an answer of {chunks} chunks"
        found.append(
            f"usage of {len(wrong)} of {len(good)} answers contradicts the stream ({example}): counted {by} instead"
        )
    elif source == "chunks":
        found.append("the server reports no usage: each chunk was counted as one token")
    unfed = sum(r.row["usage_input"] is not None and r.row["input_tokens"] is None for r in good)
    if unfed:
        found.append(
            f"usage of {unfed} of {len(good)} answers says 0 prompt tokens: the asked length was taken instead"
        )
    return found


def _by_usage(request: Request) -> bool:
    source: str = request.row["token_source"]
    return source == "usage"


def _token_source(good: Sequence[Request]) -> str:
    """The least trustworthy source among the counted requests."""
    sources = {r.row["token_source"] for r in good}
    return next((s for s in ("chunks", "tokenizer") if s in sources), "usage")


def _warnings(records: Records, who: Population) -> list[str]:
    good = who.good
    found = _censored(who)
    if records.info.left_out_s:
        found.append(f"{records.info.left_out_s:.1f} s of load after the warm-up had not settled and are left out")
    told = [r.row for r in good if r.row["input_tokens"] is not None]
    asked = sum(row["asked_input"] for row in told)
    seen = sum(row["input_tokens"] for row in told)
    if asked and abs(seen / asked - 1) > _OFF_LENGTH:
        found.append(f"prompts had {seen / len(told):.0f} tokens on average, {asked / len(told):.0f} were asked")
    wanted = sum(r.row["asked_output"] for r in good)
    got = sum(r.row["output_tokens"] for r in good)
    if wanted and got < _SHORT_ANSWER * wanted:
        found.append(f"answers had {got / len(good):.0f} tokens on average, {wanted / len(good):.0f} were asked")
    found += _usage_warnings(good)
    sent = [r for r in who.requests if r.arrived]
    reused = sum(r.row["reused"] is True for r in sent)
    if reused:
        found.append(
            f"{reused / len(sent):.0%} of the requests sent in this window had been sent to this server before: "
            "a prefix cache may flatter"
        )
    return found
