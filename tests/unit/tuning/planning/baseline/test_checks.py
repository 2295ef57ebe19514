"""A baseline before its launch: the point of the space that it is, its checks, and its name in the plan."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.cli.texts import headline, plan_text
from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.study.configuration import Configuration
from autotuner.study_file.loader import parse_study
from autotuner.tuning.planning.engines.prepared_engines import prepare
from autotuner.tuning.planning.plan import make_plan
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.quality.coverage import is_checked

pytestmark = pytest.mark.anyio

SPECULATIVE: dict[str, Any] = {
    "speculative-algorithm": [None, "EAGLE"],
    "speculative-num-steps": {"choices": [1, 3], "when": "speculative-algorithm == EAGLE"},
}
PROFILE: dict[str, Any] = {
    "profile": {
        "combinations": {
            "small": {"max-running-requests": 32},
            "large": {"max-running-requests": 32, "chunked-prefill-size": 8192},
        }
    }
}


async def prepared(parameters: Any, **changes: Any) -> Prepared:
    data = {
        "name": "s",
        "model": "Qwen/Qwen3-8B",
        "engine": {"kind": "simulated", "flavor": "sglang", "gpu": "H100", "args": {"context-length": 4096}},
        "workload": {"scenarios": "D(8,8)", "concurrency": 1},
        "objective": "max output_throughput",
        "parameters": parameters,
        **changes,
    }
    canonical_of = lambda engine: loading.engine(engine).canonical  # noqa: E731 - the loader's own form
    read = {key: value for key, value in data.items() if value is not None}
    return await prepare(parse_study(read, source="s.yaml", folder=Path("/"), canonical_of=canonical_of).spec)


async def refused(parameters: Any, **changes: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        await prepared(parameters, **changes)
    return [f"{p.where}: {p.why}" for p in caught.value.problems]


async def test_values_that_the_engine_does_not_accept_are_refused() -> None:
    [message] = await refused({"max-running-requests": [8, 16]}, baseline={"max-running-requests": "many"})
    assert message.startswith("baseline.max-running-requests: ")
    [message] = await refused({"chunked-prefill-size": [2048]}, parallelism={"tp": [1]}, baseline={"parallelism.tp": 0})
    assert "baseline.parallelism.tp: must be a whole number" in message


async def test_a_value_that_the_rest_makes_inactive_is_refused() -> None:
    found = await refused(SPECULATIVE, baseline={"speculative-algorithm": None, "speculative-num-steps": 3})
    assert found == [
        "baseline.speculative-num-steps: the rest of the baseline makes it inactive: speculative-algorithm == 'EAGLE'"
    ]
    study = await prepared(SPECULATIVE, baseline={"speculative-algorithm": "EAGLE", "speculative-num-steps": 5})
    assert study.default is None, "5 steps are not in the space"


async def test_the_search_does_not_launch_the_baseline_again() -> None:
    study = await prepared({"max-running-requests": [8, 16]}, baseline={"max-running-requests": 16})
    assert study.default == study.reference
    assert study.size.others == 1
    outside = await prepared({"max-running-requests": [8, 16]}, baseline={"max-running-requests": 12})
    assert outside.default is None
    assert outside.size.others == 2
    written = await prepared({"max-running-requests": [8, 16]}, baseline={"max-running-requests": "16"})
    assert written.size.others == 1, "another way to write one server"
    space = {"max-running-requests": [8, 16], "schedule-policy": ["fcfs", "lpm"]}
    partly = await prepared(space, baseline={"max-running-requests": 16})
    assert partly.default == Configuration(values={"max-running-requests": 16, "schedule-policy": "fcfs"})
    assert partly.size.others == 3
    assert await refused({"max-running-requests": [8]}, baseline={"max-running-requests": 8}) == [
        "parameters: every configuration starts the same server as the baseline"
    ]


async def test_a_combination_is_recognized_by_all_of_its_flags() -> None:
    named = await prepared(PROFILE, baseline={"profile": "large"})
    assert named.default == Configuration(values={"profile": "large"})
    flags = await prepared(PROFILE, baseline={"max-running-requests": 32, "chunked-prefill-size": 8192})
    assert flags.default == Configuration(values={"profile": "large"})
    assert flags.size.others == named.size.others == 1
    other = await prepared(PROFILE, baseline={"max-running-requests": 48})
    assert (other.default, other.size.others) == (None, 2)
    assert "--max-running-requests=48" in str(other.launch(other.reference).argv(host="", port=1)).replace("', '", "=")


async def test_variables_reach_the_server_and_defaults_return_to_the_space() -> None:
    study = await prepared(
        {"env.SGLANG_X": ["a", "b"], "max-running-requests": [8, None]},
        baseline={"env.SGLANG_X": "c", "max-running-requests": 8},
    )
    assert study.launch(study.reference).env["SGLANG_X"] == "c"
    assert study.known_as(study.reference) == study.reference
    assert study.known_as(Configuration()) is None, "without the variable, it is not a point of the space"


async def test_the_default_is_no_longer_what_an_earlier_trial_of_it_is_known_as() -> None:
    space = {"schedule-policy": ["fcfs", "lpm"]}
    assert (await prepared(space)).known_as(Configuration()) == Configuration()
    assert (await prepared(space, baseline={"schedule-policy": "lpm"})).known_as(Configuration()) is None


async def test_answers_are_compared_with_the_baseline() -> None:
    """A format that the baseline has is not checked, and the engine's default is."""
    space = {"kv-cache-dtype": ["auto", "fp8_e5m2"], "max-running-requests": [8, 16]}
    study = await prepared(space, quality="auto", baseline={"kv-cache-dtype": "fp8_e5m2"})
    found = {
        dtype: is_checked(study.spec, study.engine, study.fixed, Configuration(values={"kv-cache-dtype": dtype}))
        for dtype in ("auto", "fp8_e5m2", None)
    }
    assert found == {"auto": True, "fp8_e5m2": False, None: True}
    assert is_checked(study.spec, study.engine, study.fixed, Configuration(values={"max-running-requests": 8}))


async def test_the_plan_says_baseline() -> None:
    study = await prepared(
        {"max-running-requests": [8, 16]}, baseline={"max-running-requests": 12}, search={"trials": 2}
    )
    plan = await make_plan(study, preflight=False)
    assert "the baseline and up to 1 of 2 configurations" in headline(plan)
    assert "\n  baseline: max-running-requests=12\n" in plan_text(plan)
    assert [launch.reference for launch in plan.launches] == ["baseline", None, None]


async def test_baselines_and_defaults_of_several_engines_are_named_apart() -> None:
    simulated = {"kind": "simulated", "gpu": "H100"}
    entries = [
        {**simulated, "name": "v", "flavor": "vllm", "parameters": {"max-num-seqs": [4, 64]}},
        {
            **simulated,
            "name": "s",
            "flavor": "sglang",
            "parameters": {"chunked-prefill-size": [512, 2048]},
            "baseline": {"chunked-prefill-size": 512},
        },
    ]
    study = await prepared(None, engine=None, engines=entries, search={"trials": 9})
    assert study.spelled_out(study.defaults[1]).values == {"engine": "s", "s.chunked-prefill-size": 512}
    assert study.size.others == 4, "two of vLLM, one of SGLang, and the baseline of the second engine"
    text = plan_text(await make_plan(study, preflight=False))
    assert "the defaults and baselines of 2 engines" in text
    assert "\n  default: engine=v\n" in text
    assert "\n  baseline: engine=s s.chunked-prefill-size=512\n" in text
    alone = await prepared(None, engine=None, engines=entries[:1], search={"trials": 9})
    assert ": the default and all 2 other configurations" in headline(await make_plan(alone, preflight=False))
    entries[1]["baseline"] = {"chunked-prefill-size": "x"}
    [message] = await refused(None, engine=None, engines=entries)
    assert message.startswith("engines.s.baseline.chunked-prefill-size: ")
