"""The search for a capacity on real servers: llama.cpp on the CPU and the simulated SGLang, several times each.

    python benchmarks/capacity_real.py [--repeats 3] [--requests 4000] [--minutes 3] [--servers TEXT]

Prints the bracket of each repeat, whether those of one server overlap (no repeat certifies what another one refutes),
whether each certificate verifies, and whether it still does after one number in a file of request records was changed.
The exit code is 1 if anything is not as it must be. llama.cpp shares the processor with the load generator, so run it
on a machine that does nothing else.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
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
    path = max(folder.glob("level-0-*.parquet"), key=lambda file: int(file.stem.rpartition("-")[2]))
    records = read_records(path)
    ends = list(records.columns["end_ns"])
    ends[0] += 1
    write_records(path, replace(records, columns={**records.columns, "end_ns": ends}))
    return autotuner.verify_capacity(folder).holds


def overlapping(results: Sequence[CapacityResult]) -> bool:
    """Whether no repeat certifies what another one refutes."""
    certified = [one.certified for one in results if one.certified is not None]
    refuted = [one.refuted for one in results if one.refuted is not None]
    return bool(certified) and (not refuted or max(certified) < min(refuted))


async def run(case: Case, folder: Path, options: argparse.Namespace) -> bool:
    """All repeats on one server; whether everything is as it must be."""
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
    together = overlapping(results)
    print(f"{case.name}: brackets {'overlap' if together else 'DO NOT OVERLAP'}")
    return good and together


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
    good = True
    for case in chosen:
        with TemporaryDirectory() as folder:
            good = anyio.run(run, case, Path(folder), options) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
