"""Launch plans, command lines and resolved values of SGLang, without a server."""

from typing import Any

import pytest

from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.plugins import loading as plugins_loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HUB = Model(path="org/model-8b")
SPEC = EngineSpec(kind="sglang")


class TestSglang(EngineConformance):
    @pytest.fixture
    def engine(self) -> Sglang:
        return Sglang(SglangSettings())


@pytest.fixture
def engine() -> Sglang:
    return Sglang(SglangSettings())


def test_is_found_as_a_plugin() -> None:
    engine = plugins_loading.engine(
        EngineSpec.model_validate({"kind": "sglang", "server": "/opt/py -m sglang.launch_server"})
    )
    plan = engine.plan(HUB, SPEC, Configuration(values={"tp": 2}))
    assert plan.command == ("/opt/py", "-m", "sglang.launch_server")
    assert plan.tuned == {"tp-size": 2}


def test_the_launch(engine: Sglang) -> None:
    spec = SPEC.model_copy(update={"args": {"mem_fraction_static": 0.8, "chat-template": "/srv/chat.jinja"}})
    plan = engine.plan(HUB, spec, Configuration(values={"tp-size": 2, "disable-radix-cache": True, "dp": 2}))
    assert plan.argv(host="0.0.0.0", port=30000) == (
        "python3",
        "-m",
        "sglang.launch_server",
        "--model-path",
        "org/model-8b",
        "--served-model-name",
        "org/model-8b",
        "--enable-metrics",
        "--mem-fraction-static",
        "0.8",
        "--chat-template",
        "/srv/chat.jinja",
        "--tp-size",
        "2",
        "--disable-radix-cache",
        "--dp-size",
        "2",
        "--host",
        "0.0.0.0",
        "--port",
        "30000",
    )
    assert (plan.gpus, plan.model, plan.readiness.path) == (4, "org/model-8b", "/health")
    assert plan.image == "lmsysorg/sglang:v0.5.23"
    assert plan.help == ("python3", "-m", "sglang.launch_server", "--help")
    assert (plan.needs_files, plan.hub_models, plan.needs_modules) == (("/srv/chat.jinja",), ("org/model-8b",), ())


def test_local_models_are_files_and_others_come_from_the_hub(engine: Sglang) -> None:
    values: dict[str, Value] = {"speculative-draft-model-path": "org/draft"}
    plan = engine.plan(Model(path="/models/m-8b"), SPEC, Configuration(values=values))
    assert (plan.needs_files, plan.hub_models, plan.model) == (("/models/m-8b",), ("org/draft",), "m-8b")


def test_metrics_are_served_unless_the_study_disables_them(engine: Sglang) -> None:
    spec = SPEC.model_copy(update={"args": {"enable_metrics": False}})
    assert "--enable-metrics" not in engine.plan(HUB, spec, Configuration()).argv(host="h", port=1)


INFO: dict[str, Any] = {
    "tp_size": 2, "dp_size": 1, "mem_fraction_static": 0.828, "chunked_prefill_size": 8192, "max_prefill_tokens": 16384,
    "attention_backend": "fa3", "sampling_backend": "flashinfer", "kv_cache_dtype": "auto", "page_size": 1,
    "max_running_requests": None, "api_key": None, "launch_command": "python3 -m sglang.launch_server",
    "max_total_num_tokens": 447123, "version": "0.5.23",
    "internal_states": [{"effective_max_running_requests_per_dp": 2048, "memory_usage": {"kvcache": 60.1}}],
}  # fmt: skip


def test_resolved_values(engine: Sglang) -> None:
    found = engine.resolved(INFO, "", "")
    assert found["mem-fraction-static"] == 0.828
    assert found["max-total-num-tokens"] == 447123
    assert found["max-running-requests"] == 2048
    assert (found["attention-backend"], found["version"]) == ("fa3", "0.5.23")
    assert "simulated" not in found
    assert "api-key" not in found


def test_resolved_values_come_from_the_log_if_the_endpoint_has_none(engine: Sglang) -> None:
    log = (
        "[2026-11-25 01:00:09 TP0] max_total_num_tokens=447123, chunked_prefill_size=8192, max_prefill_tokens=16384, "
        "max_running_requests=2048, context_len=8192, available_gpu_mem=10.11 GB\n"
    )
    found = engine.resolved({}, "", log)
    assert (found["max-total-num-tokens"], found["max-running-requests"], found["context-length"]) == (
        447123,
        2048,
        8192,
    )


def test_arguments_of_a_running_server(engine: Sglang) -> None:
    flush, change = engine.change({"pp-max-micro-batch-size": 8, "speculative-accept-threshold-acc": 0.9})
    assert (flush.path, change.path) == ("/flush_cache", "/set_internal_state")
    assert change.body == {"server_args": {"pp_max_micro_batch_size": 8, "speculative_accept_threshold_acc": 0.9}}
    replicas = [{"pp_max_micro_batch_size": 8, "speculative_accept_threshold_acc": 0.9}, {"pp_max_micro_batch_size": 4}]
    found = engine.running_values({"pp_max_micro_batch_size": 2, "internal_states": replicas})
    assert [values["pp-max-micro-batch-size"] for values in found] == [8, 4]
    assert found[0]["speculative-accept-threshold-acc"] == 0.9
    assert engine.running_values({"pp_max_micro_batch_size": 2, "internal_states": "no"}) == []


def test_abbreviated_flags_are_resolved(engine: Sglang) -> None:
    """As argparse does, and as OME's own runtimes write them. At a word boundary it may be another flag."""
    line = ("python3", "-m", "sglang.launch_server", "--mem-frac", "0.9", "--log-level", "info")
    assert engine.read(line).single["mem-fraction-static"] == 0.9
    assert engine.override(line, {"mem-fraction-static": 0.8})[-4:] == (
        "--log-level",
        "info",
        "--mem-fraction-static",
        "0.8",
    )
    assert "mem-fraction-static" not in engine.read((*line[:3], "--mem", "0.9")).single
