"""Answers of real llama.cpp servers compared."""

from pathlib import Path

import httpx
import pytest

from autotuner.benchmarks.quality.probe import METHODS, Probe
from autotuner.benchmarks.quality.prompts import prompts
from autotuner.demo_model import write_tiny_gguf
from autotuner.deployers.process import ProcessDeployer
from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.net.target import Target
from autotuner.scoring.agreement import judge, quality_violation
from autotuner.study.configuration import Configuration
from autotuner.study.quality.spec import QualitySpec
from autotuner.study.spec import EngineSpec, Model
from support.real_servers import context, deployer, no_process_is_left

__all__ = ["deployer", "no_process_is_left"]

pytest.importorskip("xllamacpp")
pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def cached_tokens(url: str) -> int:
    """Tokens of a prompt that the server has just seen, and does not compute again."""
    body = {"prompt": prompts(1)[0], "max_tokens": 1, **METHODS[0].body()}
    async with httpx.AsyncClient(timeout=60) as client:
        answer = (await client.post(f"{url}/v1/completions", json=body)).json()
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


async def test_the_same_model_passes_and_another_one_is_caught(deployer: ProcessDeployer, tmp_path: Path) -> None:
    engine = LlamaCpp(LlamaCppSettings(start_timeout=60))
    fixed = {"threads": 1, "parallel": 4, "ctx-size": 4096}
    spec = EngineSpec(kind="llama_cpp", args=fixed, env={"OMP_WAIT_POLICY": "passive"})
    found = []
    reference = None
    for number, seed in enumerate((0, 0, 1)):
        model = write_tiny_gguf(tmp_path / f"{number}.gguf", layers=2, width=128, ffn=256, seed=seed)
        plan = engine.plan(Model(path=str(model), name="tiny"), spec, Configuration())
        folder = tmp_path / str(number)
        folder.mkdir()
        async with deployer.deploy(plan, context(engine, folder)) as endpoint:
            probe = Probe(Target(endpoint.url), endpoint.model, prompts(16), tokens=4, in_flight=4, limit_s=60)
            if reference is None:
                reference = await probe.reference()
                assert reference.full.method == METHODS[0].text
                assert await cached_tokens(endpoint.url) == 0
                assert {len(t.top) for a in reference.full.answers for t in a or ()} == {20}
            else:
                found.append(judge(reference, await probe.answers(METHODS[0])))
    same, other = found
    assert quality_violation(same, QualitySpec()) is None
    assert quality_violation(other, QualitySpec()) is not None
    assert other.candidate is not None
    assert other.candidate.agreement < 0.5
