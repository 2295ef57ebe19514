"""Benchmark of the time that a trial takes in a cluster, beyond starting and ending pods and measuring.

Tunes the simulated SGLang with OME (its stand-in) or with plain Jobs, on a Kubernetes node of its own, and prints a
row per trial. Each trial starts two pods: the server (``launching`` to ``loading``) and the load generator (what
``warming`` takes beyond the configured warm-up); ``releasing`` is their end. Overhead is the rest: reading runtime
and model, scoring, the database, choosing the next configuration.

    python benchmarks/cluster_overhead.py [--trials 4] [--deploy ome|kubernetes]
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import autotuner
from autotuner.engines.sglang.engine import Sglang
from autotuner.study.trial import Trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.labs.cluster import OwnCluster
from support.labs.cluster_images import LOADGEN, write_loadgen, write_simulated
from support.ome_standin import OmeStandIn
from support.ome_standin.images import write_images
from support.ome_standin.sample_objects import MODEL, RUNTIME

WARMUP_S = 0.5
WINDOW_S = 2.0
STARTING = ("launching", "accepted", "scheduled", "pulling", "loading")
PODS = ("pods start", "pods end")


def study(deploy: dict[str, Any], model: str, trials: int) -> dict[str, Any]:
    """A study with one short window per trial."""
    return {
        "name": "overhead",
        "model": model,
        "engine": "sglang",
        "deploy": deploy,
        "parameters": {"mem-fraction-static": [0.7, 0.75, 0.8, 0.85], "schedule-policy": ["lpm", "fcfs"]},
        "workload": {
            "scenarios": ["D(100,20)"],
            "concurrency": [2],
            "warmup": f"{WARMUP_S}s",
            "duration": f"{WINDOW_S}s",
        },
        "objective": "max output_throughput",
        "search": {"strategy": "random", "trials": trials, "seed": 0},
        "confirm": {"repeats": 0},
    }


def settings(cluster: OwnCluster, **more: Any) -> dict[str, Any]:
    """The deployer's settings."""
    return {
        "kubeconfig": str(cluster.kubeconfig),
        "loadgen_image": LOADGEN,
        "loadgen_cpu": "50m",
        "loadgen_memory": "128Mi",
        "image_pull_policy": "Never",
        "stop_grace": "1s",
        **more,
    }


def tuned(kind: str, trials: int, folder: Path) -> list[Trial]:
    """Runs one study on a cluster that ends with it, and returns the trials."""
    with OwnCluster(gpus=4) as cluster:
        write_loadgen(folder / "loadgen.tar")
        cluster.load_image(folder / "loadgen.tar")
        if kind == "ome":
            for file in write_images(folder):
                cluster.load_image(file)
            with OmeStandIn(cluster.kubeconfig, listen=cluster.host_address):
                deploy = settings(cluster, kind=kind, runtime=RUNTIME, namespace="default")
                return list(autotuner.tune(study(deploy, MODEL, trials)).trials)
        simulated = {"GPU": "H100", "SHAPE": "Llama-3.2-1B", "SPEED": "10"}
        write_simulated(folder / "simulated.tar", [Sglang.image], simulated)
        cluster.load_image(folder / "simulated.tar")
        (folder / "models" / "m").mkdir(parents=True)
        (folder / "models" / "m" / "config.json").write_text("{}")
        deploy = settings(cluster, kind=kind, model_roots=[str(folder / "models")], shm_size="64Mi")
        return list(autotuner.tune(study(deploy, "m", trials)).trials)


def main() -> None:
    """Prints a row per trial and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--deploy", choices=["ome", "kubernetes"], default="ome")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["AUTOTUNER_HOME"] = f"{name}/home"
        trials = [t for t in tuned(arguments.deploy, arguments.trials, Path(name)) if t.finished_at is not None]
    names = sorted({phase for t in trials for phase in t.phases})
    print("trial", *(f"{n:>10}" for n in [*names, "between", *PODS, "overhead"]))
    rows = [_row(trial, before, names) for before, trial in zip([None, *trials[:-1]], trials, strict=True)]
    for trial, row in zip(trials, rows, strict=True):
        print(f"{trial.number:5}", *(f"{v:10.3f}" for v in row))
    overheads = [row[-1] for row in rows[1:]]
    print(
        f"overhead per trial by {arguments.deploy}: median {statistics.median(overheads):.3f} s, max"
        f" {max(overheads):.3f} s, beyond pods that start and end ({statistics.median(r[-3] for r in rows):.1f} s and"
        f" {statistics.median(r[-2] for r in rows):.1f} s)"
    )


def _row(trial: Trial, before: Trial | None, names: list[str]) -> list[float]:
    between = (trial.started_at or 0) - (before.finished_at or 0) if before else 0.0
    spent = sum(trial.phases.values())
    load = max(0.0, trial.phases.get("warming", 0.0) - WARMUP_S)
    start = sum(trial.phases.get(n, 0.0) for n in STARTING) + load
    end = trial.phases.get("releasing", 0.0)
    overhead = between + spent - start - end - min(trial.phases.get("warming", 0.0), WARMUP_S) - WINDOW_S
    return [*(trial.phases.get(n, 0.0) for n in names), between, start, end, overhead]


if __name__ == "__main__":
    main()
