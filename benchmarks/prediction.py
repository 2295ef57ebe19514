"""Benchmark of the predictions: how far off they are on servers that were measured before.

    python benchmarks/prediction.py measured.csv

Each row of the table is one server (engine, release, formats, degrees of parallelism, GPUs) at one concurrency, with
its mean TTFT and TPOT in milliseconds. Columns ``predicted_ttft_ms`` and ``predicted_tpot_ms``, if there are any, are
another predictor's answers for the same rows. It prints the median of the absolute error in logs (0.69 is a factor of
two), and the scatter: the standard deviation of the error within a landscape, which a search cannot correct by an
offset. Nothing is launched, and nothing is fitted to the table.

With the extra ``aiconfigurator``, it also prints the errors of that prior on the rows of the engines that it is used
for, beside those of the roofline on the same rows, and how many forecasts it takes per second.

In tables that were derived from experts split ``moe_tp`` ways on ``moe_ep`` groups, some rows repeat, to the last
digit, the measurement of a server with fewer GPUs: the same degree of parallelism was counted twice. ``as measured``
reads such rows as the server that was measured.
"""

import argparse
import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

from autotuner.errors import MissingExtraError
from autotuner.plugins import loading
from autotuner.plugins.prior import Prior
from autotuner.predict.engines import MEMORY_RULES
from autotuner.predict.gpus import gpu_named
from autotuner.predict.memory import surely_too_large
from autotuner.predict.models import shape_named
from autotuner.predict.performance import forecast, forecast_by
from autotuner.predict.roofline import REAL, SIMULATED, Calibration
from autotuner.study.search.forecast import TPOT, TTFT, Forecast
from autotuner.study.search.serving import Serving
from autotuner.study.workload import Concurrency, Scenario, TokenLengths, Workload

LANDSCAPE = ("model", "system", "isl", "osl")
FEWEST = 12
"""Rows of a landscape whose scatter is computed."""
FORMATS = {"nvfp4": "modelopt_fp4", "fp8": "fp8", "fp8_block": "fp8", "bfloat16": "", "int4_wo": "awq"}
ENGINES = {"trtllm": "vllm"}
"""Engines that are modeled as another one: TensorRT-LLM also computes prompts and decodes in the same steps."""
Row = Mapping[str, str]
Errors = tuple[float, float]
"""Logarithms of measured / predicted: TTFT, TPOT."""


def serving(row: Row, *, as_measured: bool, plain: bool = False) -> Serving:
    """The server of a row; ``plain``: as if all of it were split by tensor parallelism."""
    groups = int(row["attention_dp"])
    tp = int(row["tp"]) * groups
    ep = int(row["moe_ep"])
    if as_measured and twice(row):
        groups = ep if groups > 1 else 1
        tp = ep
    return Serving(
        engine=ENGINES.get(row["engine"], row["engine"]),
        tp=tp,
        pp=int(row["pp"]),
        attention_dp=1 if plain else groups,
        ep=1 if plain else ep,
        weights=FORMATS[row["moe_quant"]],
        kv="fp8",
        prefix_cache=False,
    )


def too_large(row: Row, *, as_measured: bool) -> bool:
    """Whether a server would not have been launched for lack of memory."""
    server = serving(row, as_measured=as_measured)
    gpu = gpu_named(row["system"].partition("_")[0])
    return surely_too_large(shape_named(row["model"]), gpu, server, MEMORY_RULES[server.engine]) is not None


def twice(row: Row) -> bool:
    """Whether the degrees of a row's experts multiply to the square of one degree."""
    return row["moe_tp"] == row["moe_ep"] != "1"


def errors(row: Row, calibration: Calibration, *, as_measured: bool, plain: bool = False) -> Errors | None:
    """The errors of our prediction; None if there is none."""
    found = forecast(
        shape_named(row["model"]),
        gpu_named(row["system"].partition("_")[0]),
        serving(row, as_measured=as_measured, plain=plain),
        workload(row),
        calibration,
        staggered=False,
        slopes=False,
    )
    return None if found is None else _compared(row, found)


def errors_by(row: Row, prior: Prior) -> Errors | None:
    """The errors of the prediction from a prior's step times, for a row read as measured; None if there is none."""
    found = forecast_by(
        prior,
        row["model"],
        shape_named(row["model"]),
        gpu_named(row["system"].partition("_")[0]),
        serving(row, as_measured=True),
        workload(row),
        staggered=False,
        slopes=False,
    )
    return None if found is None else _compared(row, found)


def workload(row: Row) -> Workload:
    """The load of a row."""
    lengths = [TokenLengths(kind="fixed", a=int(row[name])) for name in ("isl", "osl")]
    scenario = Scenario(text="s", input=lengths[0], output=lengths[1])
    return Workload(scenarios=(scenario,), levels=(Concurrency(in_flight=int(row["concurrency"])),))


def _compared(row: Row, found: Forecast) -> Errors:
    [level] = found.levels
    measured = (math.log(float(row["ttft_ms"]) / 1e3), math.log(float(row["tpot_ms"]) / 1e3))
    return measured[0] - level.log_mean[TTFT], measured[1] - level.log_mean[TPOT]


def others(row: Row) -> Errors:
    """The errors of the table's own predictions."""
    found = [math.log(float(row[m]) / float(row[f"predicted_{m}"])) for m in ("ttft_ms", "tpot_ms")]
    return found[0], found[1]


def summary(rows: Sequence[Row], of: Callable[[Row], Errors | None]) -> str:
    """One line of the table: median absolute error and scatter of both metrics."""
    found = [(row, error) for row in rows if (error := of(row)) is not None]
    landscapes = defaultdict(list)
    for row, error in found:
        landscapes[tuple(row[name] for name in LANDSCAPE)].append(error)
    cells = [f"{len(found):5}"]
    for metric in (0, 1):
        median = statistics.median(abs(error[metric]) for _, error in found)
        bias = statistics.median(error[metric] for _, error in found)
        scatters = [statistics.stdev(e[metric] for e in s) for s in landscapes.values() if len(s) >= FEWEST]
        scatter = f"{statistics.mean(scatters):7.2f}" if scatters else "      -"
        cells.append(f"{median:7.2f} {bias:+7.2f} {scatter}")
    return "   ".join(cells)


HEAD = f"{'':36} {'rows':>5}   {'TTFT':>7} {'bias':>7} {'scatter':>7}   {'TPOT':>7} {'bias':>7} {'scatter':>7}"
STAGES: Mapping[str, tuple[Calibration, bool, bool]] = {
    "tensor parallelism only, no waiting": (replace(SIMULATED, queue=0.0), False, True),
    "+ waiting for other prompts": (SIMULATED, False, True),
    "+ experts and attention groups": (SIMULATED, False, False),
    "+ minimum time of kernels": (replace(SIMULATED, kernels_s=REAL.kernels_s), False, False),
    "+ sampling, scheduling": (replace(REAL, request_s=0.0), False, False),
    "+ HTTP and tokenizer": (REAL, False, False),
    "+ rows read as measured": (REAL, True, False),
}
"""Calibration, whether rows are read as measured, and whether only tensor parallelism counts."""


def compare(prior: Prior, rows: Sequence[Row]) -> None:
    """Prints the errors of a prior beside those of the roofline, for rows read as measured, and its speed."""
    rates = []
    for _ in range(2):
        began = perf_counter()
        for row in rows:
            errors_by(row, prior)
        rates.append(len(rows) / (perf_counter() - began))
    first, again = rates
    print(f"\n{prior.kind} {prior.version}: {first:,.1f} forecasts per second, {again:,.0f} of servers seen before")
    ours = partial(errors, calibration=REAL, as_measured=True)
    for name in ("all", *sorted({row["engine"] for row in rows})):
        some = [row for row in rows if name in ("all", row["engine"])]
        print(f"{f'roofline, {name}':36} {summary(some, ours)}")
        print(f"{f'{prior.kind}, {name}':36} {summary(some, partial(errors_by, prior=prior))}")
        if "predicted_ttft_ms" in rows[0]:
            print(f"{f'columns, {name}':36} {summary(some, others)}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path)
    with parser.parse_args().table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    compared = "predicted_ttft_ms" in rows[0]
    print(f"{len(rows)} rows, {len({(r['ttft_ms'], r['tpot_ms']) for r in rows})} different measurements")
    print(f"{sum(twice(row) for row in rows)} rows count one degree of parallelism twice")
    refused = sum(too_large(row, as_measured=read) for row in rows for read in (False, True))
    print(f"{refused} rows would have been refused as too large; all of them ran\n")
    print(HEAD)
    for name, (calibration, as_measured, plain) in STAGES.items():
        stage = partial(errors, calibration=calibration, as_measured=as_measured, plain=plain)
        print(f"{name:36} {summary(rows, stage)}")
    if compared:
        print(f"{'the columns of the table':36} {summary(rows, others)}")
    single = [row for row in rows if not twice(row)]
    print(f"{'ours, without rows counted twice':36} {summary(single, lambda r: errors(r, REAL, as_measured=False))}")
    if compared:
        print(f"{'columns, without them':36} {summary(single, others)}")
    try:
        compare(loading.prior("aiconfigurator"), [row for row in rows if row["engine"] not in ENGINES])
    except MissingExtraError as error:
        print(f"\nnot compared: {error}")
    for column in ("engine", "system", "concurrency"):
        print()
        for value in sorted({row[column] for row in rows}, key=lambda v: (len(v), v)):
            some = [row for row in rows if row[column] == value]
            print(f"ours    {column} {value:20.20} {summary(some, lambda r: errors(r, REAL, as_measured=True))}")
            if compared:
                print(f"columns {column} {value:20.20} {summary(some, others)}")


if __name__ == "__main__":
    main()
