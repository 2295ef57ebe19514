"""lm-evaluation-harness on real llama.cpp servers."""

import os
from pathlib import Path

import httpx
import pytest

from autotuner.benchmarks.quality.lm_eval.command import COMMAND_VARIABLE
from autotuner.demo_model import write_tiny_gguf
from autotuner.deployers.process import ProcessDeployer
from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.net.target import Target
from autotuner.plugins.deployer import Endpoint
from autotuner.scoring.accuracy import compare_tasks, worse
from autotuner.study.configuration import Configuration
from autotuner.study.quality.spec import TasksSpec
from autotuner.study.spec import EngineSpec, Model
from autotuner.tuning.quality.harness import evaluate
from support.quality.lm_eval_double import write_tasks
from support.real_servers import LABELS, context, deployer, no_process_is_left

__all__ = ["deployer", "no_process_is_left"]

REAL = os.environ.get(COMMAND_VARIABLE)
pytest.importorskip("xllamacpp")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.lm_eval,
    pytest.mark.skipif(not REAL, reason="no lm-evaluation-harness: make test-lm-eval installs one"),
]
LEVEL = 0.01 / 3


async def facts(endpoint: Endpoint) -> list[tuple[str, str]]:
    """Questions with this server's own answers: a task that it solves."""
    found = []
    async with httpx.AsyncClient(timeout=60) as client:
        for n in range(24):
            question = f"Fact {n}: the {n}th word is"
            body = {"prompt": question, "max_tokens": 8, "temperature": 0, "stop": ["\n\n"]}
            answer = (await client.post(f"{endpoint.url}/v1/completions", json=body)).json()
            found.append((question, answer["choices"][0]["text"]))
    return found


@pytest.mark.timeout(900)
async def test_another_model_is_worse_at_what_the_default_knows(deployer: ProcessDeployer, tmp_path: Path) -> None:
    engine = LlamaCpp(LlamaCppSettings(start_timeout=60))
    fixed = {"threads": 1, "parallel": 2, "ctx-size": 2048}
    spec = EngineSpec(kind="llama_cpp", args=fixed, env={"OMP_WAIT_POLICY": "passive"})
    tasks = TasksSpec(names=("facts",), limit=24, include=str(tmp_path / "tasks"), command=(REAL or "",))
    runs = []
    for number, seed in enumerate((0, 0, 1)):
        model = write_tiny_gguf(tmp_path / f"{number}.gguf", layers=2, width=128, ffn=256, seed=seed)
        plan = engine.plan(Model(path=str(model), name="tiny"), spec, Configuration())
        folder = tmp_path / str(number)
        folder.mkdir()
        async with deployer.deploy(plan, context(engine, folder)) as endpoint:
            if not runs:
                write_tasks(tmp_path / "tasks", {"facts": await facts(endpoint)})
            target = Target(endpoint.url)
            runs.append(await evaluate(tasks, target, "tiny", in_flight=2, labels=LABELS, folder=folder))
    assert [run.problem for run in runs] == [""] * 3
    default, again, other = runs
    [same] = compare_tasks(["facts"], default, again, LEVEL)
    assert same.accuracy is not None
    assert same.accuracy.value > 0.9
    assert not worse(same, 0.02, LEVEL)
    [found] = compare_tasks(["facts"], default, other, LEVEL)
    assert worse(found, 0.02, LEVEL)
