"""What a real run would have stored with the trials of a sample: predictions, importance, request records, sensors."""

import json
from collections.abc import Sequence
from random import Random

import numpy as np

from autotuner.benchmarks.measuring.records import RunInfo, from_rows, write_records
from autotuner.benchmarks.measuring.requirements import Requirements
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.store.paths import trial_folder
from autotuner.study.launch import GpuSample
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.search.importance import ParameterImportance, Share
from autotuner.study.search.rationale import Expected, Rationale
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.tuning.stored_summary import Findings
from autotuner.tuning.trials.telemetry import FILE as GPU_FILE
from support.request_records import S, row

_TOKENS = 48
_SHARES = {"min": 0.0, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}


def findings(spec: StudySpec) -> Findings:
    """Importance of the parameters: the first one matters most."""
    shares = [Share(alone=0.6 / 2**i, total=0.7 / 2**i) for i in range(len(spec.parameters))]
    return Findings(
        importance=tuple(
            ParameterImportance(parameter=p.name, objective=one, feasible=other)
            for p, one, other in zip(spec.parameters, shares, reversed(shares), strict=True)
        )
    )


def predicted(trial: Trial) -> Trial:
    """The trial as a search proposed it: each prediction is a little too high, every third far too high."""
    if trial.role is not TrialRole.SEARCH or not trial.measurements:
        return trial
    factor = 2.0 if trial.number % 3 == 0 else 1.05
    expected = []
    for window in trial.measurements:
        for metric, statistic in (("output_throughput", None), ("ttft", "p99")):
            value = window.value(metric, statistic)
            assert value is not None
            median = value * factor
            expected.append(
                Expected(
                    metric=metric,
                    statistic=statistic,
                    scenario=window.scenario,
                    level=window.level.text,
                    median=median,
                    low=median * 0.8,
                    high=median * 1.2,
                )
            )
    return trial.replaced(
        rationale=Rationale(expected=tuple(expected), feasible=0.7, starts=0.98, improves=0.3, beats=0)
    )


def with_files(trial: Trial) -> Trial:
    """The trial with request records and GPU sensors in its folder, and latencies that are computed from them."""
    folder = trial_folder(trial.study, trial.number)
    folder.mkdir(parents=True, exist_ok=True)
    began = trial.started_at or 0.0
    samples = [
        GpuSample(at=began + i / 2, index=gpu, utilization=min(1, i / 20), memory_gb=70.0 + gpu, power_w=300 + 10 * i)
        for i in range(30)
        for gpu in range(2)
    ]
    lines = [json.dumps(sample.model_dump(mode="json", exclude_none=True)) for sample in samples]
    (folder / GPU_FILE).write_text("\n".join(lines) + "\n")
    return trial.replaced(measurements=tuple(_recorded(trial, i, m) for i, m in enumerate(trial.measurements)))


def _recorded(trial: Trial, place: int, measured: Measurement) -> Measurement:
    random = Random(place)
    count = min(measured.requests, 300)
    ttft = _values(measured.distributions["ttft"], count, random)
    tpot = _values(measured.distributions["tpot"], count, random)
    rows = []
    for index, (wait, pace) in enumerate(zip(ttft, tpot, strict=True)):
        sent = round(index / count * measured.window_s / 2 * S)
        span = round(pace * (_TOKENS - 1) * S)
        first = sent + round(wait * S)
        times = {"sent_ns": sent, "first_ns": first, "end_ns": first + span}
        rows.append(row(index=index, **times, gaps_ns=[span], output_tokens=_TOKENS))
    where = Requirements(scenario=measured.scenario, level=measured.level).model_dump(mode="json")
    info = RunInfo(window_ns=round(measured.window_s * S), begin_epoch_s=measured.started_at)
    records = from_rows(rows, info, where)
    name = f"records-0-{place}-0.parquet"
    write_records(trial_folder(trial.study, trial.number) / name, records)
    known = summarize(records).distributions
    return measured.replaced(distributions={m: known[m] for m in measured.distributions}, records=name)


def _values(stored: Distribution, count: int, random: Random) -> Sequence[float]:
    """Values with about these statistics, in a random order."""
    known = [(share, value) for name, share in _SHARES.items() if (value := stored.value(name)) is not None]
    shares, values = zip(*known, strict=True)
    found = [float(v) for v in np.interp(np.linspace(0, 1, count), shares, values)]
    random.shuffle(found)
    return found
