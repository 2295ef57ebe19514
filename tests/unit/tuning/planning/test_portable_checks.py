"""Portable settings before a launch: rejected with their path in the file, skipped, or launched."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.engines.shared.portable import PortableEngine
from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.check import CheckStatus
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware
from autotuner.study.parameters.parameter import CatalogEntry, ValueType
from autotuner.study_file.loader import parse_study
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning.planning.prepared_study import Prepared, prepare

pytestmark = pytest.mark.anyio


class Tabled(PortableEngine, FakeEngine):
    """The fake engine with SGLang's table of portable settings."""

    kind: ClassVar[str] = "sglang"
    catalog: ClassVar[Mapping[str, CatalogEntry]] = {
        name: CatalogEntry(
            name=name, type=ValueType(kind="int", low=1, high=64), default=1, meaning="GPUs", aliases=(a,)
        )
        for name, a in (("tp-size", "tensor-parallel-size"), ("pp-size", "pipeline-parallel-size"), ("dp-size", "dp"))
    }

    def gpus(self, values: Mapping[str, Value]) -> int:
        """The product of all degrees, as for SGLang."""
        total = 1
        for name in self.catalog:
            value = values.get(name)
            total *= value if isinstance(value, int) else 1
        return total


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both engines behind their kinds, and a target with 8 GPUs."""
    engines: dict[str, Engine] = {e.kind: e for e in (Tabled(FakeEngineSettings()), FakeEngine(FakeEngineSettings()))}
    monkeypatch.setattr(loading, "engine", lambda spec: engines[spec.kind])
    eight = Hardware(cpus=8, memory_gb=64, gpus=8)
    monkeypatch.setattr(loading, "deployer", lambda _: FakeDeployer(machine=eight))


async def study(**changes: Any) -> Prepared:
    data = {
        "model": "m",
        "engine": "sglang",
        "deploy": "fake",
        "workload": {"scenarios": "D(1,1)", "concurrency": 1},
        "objective": "max output_throughput",
        **changes,
    }
    canonical = Tabled(FakeEngineSettings()).canonical
    spec = parse_study(data, source="s", folder=Path("/here"), canonical_of=lambda _: canonical).spec
    return await prepare(spec)


async def launchable(**changes: Any) -> list[dict[str, Value]]:
    prepared = await study(**changes)
    return [dict(c.values) for c in prepared.space.grid() if prepared.valid(c)]


@pytest.mark.parametrize(
    ("changes", "where", "value"),
    [
        ({"engine": "fake", "parallelism": {"tp": [1, 2]}}, "parallelism.tp", ""),
        ({"engine": "fake", "quantization": "kv-cache-fp8"}, "quantization.preset", ""),
        ({"quantization": {"kv_cache": ["auto", "int8"]}}, "quantization.kv_cache[1]", "int8"),
        ({"parallelism": {"preset": ["balanced", "long-context"]}}, "parallelism.preset[1]", "long-context"),
        ({"parallelism": {"tp": 65}}, "parallelism.tp", "65"),
        ({"engine": {"kind": "sglang", "args": {"tp-size": 65}}, "parallelism": {"tp": 2}},
         "engine.args.tp-size", "65"),
        ({"quantization": {"kv_cache": "fp8_e5m2", "attention": "fp8"}}, "quantization.attention", "fp8"),
        ({"parallelism": {"tp": [1, 2]}, "parameters": {"tensor-parallel-size": [1, 2]}}, "parameters.tp-size", ""),
        ({"parallelism": {"tp": [1, 2]}, "engine": {"kind": "sglang", "args": {"tp-size": 2}}},
         "engine.args.tp-size", ""),
        ({"parallelism": {"tp": [1, 2]}, "constraints": "tp_size <= 2"}, "constraints[0]", "tp-size <= 2"),
        ({"parallelism": "balanced", "constraints": "tp-size <= 2"}, "constraints[0]", "tp-size <= 2"),
        ({"parallelism": "balanced", "constraints": "parallelism.tp <= 2"}, "constraints[0]", "parallelism.tp <= 2"),
        ({"quantization": {"attention": ["fp8"], "kv_cache": ["auto", "fp8_e5m2"]}}, "parameters", ""),
    ],
)  # fmt: skip
async def test_refused_before_a_launch(
    changes: dict[str, Any], where: str, value: str, snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(UsageError) as caught:
        await study(**changes)
    (problem,) = caught.value.problems
    assert (problem.where, problem.value or "") == (where, value)
    assert str(caught.value) == snapshot


async def test_combinations_that_the_engine_rejects_are_skipped() -> None:
    found = await launchable(quantization={"attention": ["auto", "fp8"], "kv_cache": ["auto", "fp8_e5m2", "fp8_e4m3"]})
    assert [(v["quantization.attention"], v["quantization.kv-cache"]) for v in found] == [
        ("auto", "auto"),
        ("auto", "fp8_e5m2"),
        ("auto", "fp8_e4m3"),
        ("fp8", "fp8_e4m3"),
    ]


async def test_constraints_and_gpus_limit_portable_parameters() -> None:
    sizes = {"tp": [1, 2, 8], "pp": [1, 2]}
    assert len(await launchable(parallelism=sizes)) == 5
    found = await launchable(
        parallelism=sizes, constraints="parallelism.tp * parallelism.pp * parallelism.dp <= gpus / 4"
    )
    assert [(v["parallelism.tp"], v["parallelism.pp"]) for v in found] == [(1, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("parallelism", "numbers"),
    [
        ("large-model-tp-pp", [16, 8]),
        ({"tp": 4, "pp": 4}, [16, 8]),
        ({"tp": [16, 32]}, [16, 32, 8]),
    ],
)
async def test_degrees_that_exceed_the_target_fail_a_check(parallelism: object, numbers: list[int]) -> None:
    prepared = await study(parallelism=parallelism)
    failed = {c.name: c.detail for c in await prepared.preflight() if c.status is CheckStatus.FAIL}
    detail = failed["gpus"].partition("; planned")[0]
    assert [int(number) for number in re.findall(r"\d+", detail)][: len(numbers)] == numbers


async def test_values_that_are_too_large_are_reported_and_not_launched() -> None:
    prepared = await study(parallelism={"preset": ["single-gpu", "balanced", "large-model-tp-pp"]})
    assert len([c for c in prepared.space.grid() if prepared.valid(c)]) == 2
    [warning] = [c for c in await prepared.preflight() if c.status is CheckStatus.WARN]
    assert warning.name == "parallelism.preset"
    assert re.findall(r"\d+", warning.detail) == ["16", "8"]


@pytest.mark.parametrize(
    ("changes", "default"),
    [
        ({"parallelism": {"tp": [1, 2]}, "quantization": {"gemm": ["auto", "fp8"]}},
         {"parallelism.tp": 1, "quantization.gemm": "auto"}),
        ({"parallelism": {"preset": ["single-gpu", "balanced"]}}, {"parallelism.preset": "single-gpu"}),
        ({"quantization": {"preset": "dynamic-fp8", "gemm": ["auto", "fp8"]}}, None),
        ({"parallelism": {"tp": [2, 4]}}, None),
    ],
)  # fmt: skip
async def test_default_as_a_configuration(changes: dict[str, Any], default: dict[str, Value] | None) -> None:
    prepared = await study(**changes)
    assert (prepared.default and dict(prepared.default.values)) == default


async def test_launch_only_has_the_engines_own_flags() -> None:
    prepared = await study(
        engine={"kind": "sglang", "args": {"note": "kept", "dp_size": 2}},
        parallelism={"preset": "balanced", "tp": [1, 2]},
        quantization={"kv_cache": ["auto", "fp8_e5m2"]},
    )
    first, *_, last = prepared.space.grid()
    plans = [prepared.engine.launch(prepared.model, prepared.spec.engine, c) for c in (DEFAULT, first, last)]
    assert [dict(p.tuned) for p in plans] == [
        {"tp-size": 2, "pp-size": 1},
        {"tp-size": 1, "pp-size": 1},
        {"tp-size": 2, "pp-size": 1, "kv-cache-dtype": "fp8_e5m2"},
    ]
    argv = plans[2].argv(host="h", port=1)
    assert {"--tp-size=2", "--dp-size=2", "--pp-size=1", "--kv-cache-dtype=fp8_e5m2", "--note=kept"} <= set(argv)
    assert not [a for a in argv if "parallelism" in a or "quantization" in a]


async def test_canonical_keeps_portable_names() -> None:
    engine = Tabled(FakeEngineSettings())
    assert engine.canonical("parallelism.tp") == "parallelism.tp"
    assert engine.canonical("quantization.kv_cache") == "quantization.kv-cache"
    assert engine.canonical("tensor_parallel_size") == "tp-size"
    assert FakeEngine(FakeEngineSettings()).expand({"x": 1}) == {"x": 1}
    with pytest.raises(UsageError) as refused:
        FakeEngine(FakeEngineSettings()).launch(
            (await study()).model, (await study()).spec.engine, Configuration(values={"parallelism.tp": 2})
        )
    assert [problem.where for problem in refused.value.problems] == ["parallelism.tp"]
