"""The choice between the roofline, plugins and no prior at all."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from autotuner.cli.texts import plan_text
from autotuner.errors import MissingExtraError, UsageError
from autotuner.plugins import loading
from autotuner.study.check import CheckStatus
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware
from autotuner.study.search.forecast import TPOT
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.planning.plan import make_plan
from autotuner.tuning.planning.prediction import predictions
from autotuner.tuning.planning.prepared_study import Prepared, prepare

pytestmark = pytest.mark.anyio

KNOWN = "Qwen/Qwen3-8B"
SHAPELESS = "acme/new-8B"
"""A model that only the plugin knows."""
PLUGIN = f"""
from autotuner.plugins.prior import KnownServer, NoPredictionError, Prior


class Acme(Prior):
    kind = "acme"
    version = "1.5"

    def server(self, model, gpu, serving):
        return AcmeServer() if model in ({KNOWN!r}, {SHAPELESS!r}) and serving.tp < 4 else None


class AcmeServer(KnownServer):
    def step_s(self, requests, prompt, tokens):
        return 0.5 if prompt else 0.25

    def kv_tokens(self):
        return 10_000
"""


def study(prior: str = "auto", model: str = KNOWN, **changes: Any) -> StudySpec:
    file = {
        "name": "s",
        "model": model,
        "engine": "vllm",
        "parameters": {"tensor-parallel-size": [1, 2, 4]},
        "workload": {"scenarios": "D(100,11)", "concurrency": 1},
        "objective": "max output_throughput",
        "search": {"strategy": "calibrated", "prior": prior},
        **changes,
    }
    return parse_study(file, source="s.yaml", folder=Path("/")).spec


async def planned(*args: Any, **changes: Any) -> Prepared:
    return await prepare(study(*args, **changes), planning=True)


def source(prepared: Prepared, tp: int = 2) -> str:
    found = prepared.forecast(Configuration(values={"tensor-parallel-size": tp}))
    return "" if found is None else f"{found.source} {found.version}"


@pytest.fixture(autouse=True)
def _acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a plugin for priors, beside the built-in one, which lacks its extra."""
    (tmp_path / "acme_prior.py").write_text(PLUGIN)
    info = tmp_path / "acme_prior-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-prior\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[autotuner.priors]\nacme = acme_prior:Acme\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    eight = Hardware(cpus=8, memory_gb=64, gpus=8, gpu_name="NVIDIA H100 80GB HBM3", gpu_memory_gb=79.1)
    monkeypatch.setattr(loading, "deployer", lambda _: FakeDeployer(machine=eight))
    monkeypatch.setitem(sys.modules, "aiconfigurator_core", None)
    monkeypatch.delitem(sys.modules, "autotuner.priors.aiconfigurator.prior", raising=False)
    predictions.plugin_prior.cache_clear()


async def test_auto_is_the_roofline_where_it_knows_the_default() -> None:
    assert source(await planned()).startswith("roofline ")


async def test_auto_is_a_plugin_where_only_that_knows_the_default() -> None:
    prepared = await planned(model=SHAPELESS)
    assert source(prepared) == "acme 1.5"
    found = prepared.forecast(DEFAULT)
    assert found is not None
    assert math.exp(found.levels[0].log_mean[TPOT]) == pytest.approx(0.25)


@pytest.mark.parametrize("model", [KNOWN, SHAPELESS])
async def test_a_study_has_one_prior(model: str) -> None:
    """What the chosen one does not know has no prediction, even if another one knows it."""
    assert source(await planned("acme", model), tp=2) == "acme 1.5"
    assert source(await planned("acme", model), tp=4) == ""
    assert source(await planned("none", model), tp=2) == ""
    assert source(await planned("roofline", SHAPELESS), tp=2) == ""


async def test_nothing_is_predicted_if_nothing_knows_the_default() -> None:
    prepared = await planned(model="acme/unknown")
    assert prepared.forecasts.prior == "roofline"
    assert source(prepared) == ""


async def test_without_predictions_what_cannot_fit_is_still_known() -> None:
    prepared = await planned("none", "Qwen/Qwen3-235B-A22B", parameters={"tensor-parallel-size": [4, 8]})
    assert prepared.misfit(DEFAULT) is not None


async def test_a_prior_that_lacks_its_extra_is_refused_with_the_remedy() -> None:
    with pytest.raises(MissingExtraError) as caught:
        await planned("aiconfigurator")
    assert str(caught.value) == (
        "aiconfigurator needs the \"aiconfigurator\" extra; pip install 'llm-inference-autotuner[aiconfigurator]'"
    )


async def test_an_unknown_prior_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        await planned("rofline")
    (problem,) = caught.value.problems
    assert (problem.where, problem.value, problem.remedy) == ("search.prior", "rofline", 'did you mean "roofline"?')


@pytest.mark.parametrize(
    ("prior", "model", "strategy", "notes"),
    [
        ("auto", "acme/unknown", "random", []),
        ("none", "acme/unknown", "calibrated", []),
        ("roofline", KNOWN, "calibrated", []),
        ("roofline", "acme/unknown", "calibrated", ["roofline has no prediction for the default"]),
        ("acme", KNOWN, "calibrated", []),
        ("acme", KNOWN, "random", ["strategy random does not use predictions"]),
        ("acme", "acme/unknown", "calibrated", ["acme has no prediction for the default"]),
    ],
)
async def test_a_prior_that_was_chosen_in_vain_is_a_warning(
    prior: str, model: str, strategy: str, notes: list[str]
) -> None:
    prepared = await planned(prior, model, search={"strategy": strategy, "prior": prior})
    found = [c for c in await prepared.preflight() if c.name == "search.prior"]
    assert [c.status for c in found] == [CheckStatus.WARN] * len(notes)
    assert all(note in c.detail for note, c in zip(notes, found, strict=True))


async def test_a_plan_names_the_plugin() -> None:
    plan = await make_plan(await planned("acme"), preflight=False)
    assert {level.prior for launch in plan.launches for level in launch.predicted} == {"acme 1.5"}
    assert "    predicted by acme 1.5 for D(100,11) at concurrency=1: mean TTFT" in plan_text(plan)
    assert "    predicted for D(100,11)" in plan_text(await make_plan(await planned(), preflight=False))


def test_a_study_file_keeps_its_prior() -> None:
    spec = study("roofline")
    assert parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec.search.prior == "roofline"
