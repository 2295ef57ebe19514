"""The search for a capacity on real servers: llama.cpp on the CPU and the simulated SGLang, several times each.

    python benchmarks/capacity_real.py [--repeats 3] [--requests 4000] [--minutes 3] [--servers TEXT]

Prints the bracket of each repeat, or why it has none; whether those of one server overlap (no repeat certifies what
another one refutes); whether each certificate verifies, and whether it still does after one number in a file of request
records was changed. llama.cpp shares the processor with the load generator, so run it on a machine that does nothing
else.

Exit codes: 0 if everything is as it must be; 1 if brackets disagree or a certificate is wrong; 3 if nothing is wrong,
but a repeat has no bracket.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio.to_thread import run_sync

import autotuner
from autotuner.benchmarks.measuring.records import read_records, write_records
from autotuner.demo_model import write_tiny_gguf
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.engines.simulated import Simulated, SimulatedSettings
from autotuner.plugins.deployer import DeployContext, Endpoint
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.capacity.result import CapacityReport, CapacityResult
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import Labels
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.deployer_kit import MemoryPorts

PORTS = (27_400, 27_419)


class Outcome(Enum):
    """What the repeats on one server show, as an exit code."""

    GOOD = 0
    WRONG = 1
    NO_BRACKET = 3


@dataclass(frozen=True)
class Case:
    """A server, what is sent to it, and what it is asked."""

    name: str
    engine: Engine
    args: Mapping[str, Value]
    slos: Sequence[str]
    scenario: str


def cases() -> list[Case]:
    """llama.cpp with four slots, and a simulated SGLang with sixteen."""
    return [
        Case(
            "llama.cpp",
            LlamaCpp(LlamaCppSettings(start_timeout=60)),
            {"threads": 1, "parallel": 4, "ctx-size": 4096},
            ("p90 ttft <= 250ms",),
            "D(32,16)",
        ),
        Case(
            "simulated SGLang",
            Simulated(SimulatedSettings(gpu="L40S", model="Llama-3.1-8B", speed=4.0)),
            {"max-running-requests": 16},
            ("p90 ttft <= 250ms",),
            "N(64,16)/(32,8)",
        ),
    ]


@asynccontextmanager
async def served(case: Case, folder: Path) -> AsyncIterator[Endpoint]:
    """The server as a child process."""

    def explain(code: int | None, tail: str, ready: bool) -> Failure:
        found = case.engine.explain(code, tail, ready=ready)
        return found or Failure(cause=FailureCause.CRASH_LOADING, message="unknown", exit_code=code, log_tail=tail)

    path = str(write_tiny_gguf(folder / "tiny.gguf")) if case.engine.kind == "llama_cpp" else "Llama-3.1-8B"
    spec = EngineSpec(kind=case.engine.kind, args=dict(case.args), env={"OMP_WAIT_POLICY": "passive"})
    plan = case.engine.plan(Model(path=path, name="tiny"), spec, Configuration())
    labels = Labels(study="capacity-real", trial=0, owner="benchmark")
    context = DeployContext(labels, folder, explain, lambda _: None, MemoryPorts())
    async with ProcessDeployer(ProcessSettings(ports=PORTS)).deploy(plan, context) as endpoint:
        yield endpoint


def measured(case: Case, url: str, folder: Path, options: argparse.Namespace, seed: int) -> CapacityReport:
    """One search."""
    return autotuner.measure_capacity(
        url,
        slos=case.slos,
        folder=folder,
        workload={"scenarios": case.scenario, "warmup": "1s", "seed": seed},
        search={
            "precision": 0.3,
            "max_requests": options.requests,
            "max_duration": f"{options.minutes}m",
        },
    )


def tampered(folder: Path) -> bool:
    """Whether the certificate holds although one time in the records of its last level is a nanosecond later."""
    files = sorted(folder.glob("level-0-*.parquet"), key=lambda file: int(file.stem.rpartition("-")[2]))
    if not files:  # without a level there is nothing to change
        return False
    path = files[-1]
    records = read_records(path)
    ends = list(records.columns["end_ns"])
    ends[0] += 1
    write_records(path, replace(records, columns={**records.columns, "end_ns": ends}))
    return autotuner.verify_capacity(folder).holds


def disagreement(results: Sequence[CapacityResult]) -> str:
    """Which repeat certifies what another one refutes; empty if none does."""
    certified = [(one.certified, number) for number, one in enumerate(results, 1) if one.certified is not None]
    refuted = [(one.refuted, number) for number, one in enumerate(results, 1) if one.refuted is not None]
    if not certified or not refuted or max(certified)[0] < min(refuted)[0]:
        return ""
    (high, one), (low, other) = max(certified), min(refuted)
    return f"repeat {one} certifies {high:.2f}, and repeat {other} refutes {low:.2f}"


def missing_ends(results: Sequence[CapacityResult]) -> list[str]:
    """Which repeats have no bracket, and why."""
    return [
        f"repeat {number} has no {end} load: {why or 'no reason was given'}"
        for number, one in enumerate(results, 1)
        for end, load, why in (
            ("certified", one.certified, one.certified_missing),
            ("refuted", one.refuted, one.refuted_missing),
        )
        if load is None
    ]


def judged(name: str, results: Sequence[CapacityResult]) -> Outcome:
    """Prints how the brackets of one server compare."""
    if differ := disagreement(results):
        print(f"{name}: brackets DO NOT OVERLAP: {differ}")
        return Outcome.WRONG
    lines = missing_ends(results)
    for line in lines:
        print(f"{name}: {line}")
    complete = sum(one.certified is not None and one.refuted is not None for one in results)
    print(f"{name}: {complete} of {len(results)} repeats have a bracket; none certifies what another one refutes")
    return Outcome.NO_BRACKET if lines else Outcome.GOOD


async def run(case: Case, folder: Path, options: argparse.Namespace) -> Outcome:
    """All repeats on one server."""
    results = []
    good = True
    async with served(case, folder) as endpoint:
        for repeat in range(options.repeats):
            place = folder / f"repeat-{repeat}"
            report = await run_sync(partial(measured, case, endpoint.url, place, options, repeat))
            result = report.results[0]
            holds = autotuner.verify_capacity(place).holds
            still = tampered(place)
            good = good and holds and not still
            ends = ["-" if end is None else f"{end:.2f}" for end in (result.certified, result.refuted)]
            print(
                f"{case.name:17s} {repeat + 1:6d} {ends[0]:>9s} {ends[1]:>8s} {len(result.levels):7d}"
                f" {result.requests:9d} {'yes' if holds else 'NO':>9s} {'STILL' if still else 'no':>14s}",
                flush=True,
            )
            results.append(result)
    outcome = judged(case.name, results)
    return outcome if good else Outcome.WRONG


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="searches per server (default: 3)")
    parser.add_argument("--requests", type=int, default=4_000, help="requests per search (default: 4,000)")
    parser.add_argument("--minutes", type=float, default=3, help="minutes per search (default: 3)")
    parser.add_argument("--servers", default="", help="only servers whose name contains this")
    options = parser.parse_args()
    print("server            repeat certified  refuted  levels  requests  verifies  after a change")
    chosen = [case for case in cases() if options.servers in case.name]
    outcomes = []
    for case in chosen:
        with TemporaryDirectory() as folder:
            outcomes.append(anyio.run(run, case, Path(folder), options))
    sys.exit(next((one.value for one in (Outcome.WRONG, Outcome.NO_BRACKET) if one in outcomes), 0))


if __name__ == "__main__":
    main()
