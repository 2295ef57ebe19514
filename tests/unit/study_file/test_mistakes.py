"""Mistakes in study files, older tasks, overrides and site files: each is one problem with its place, value and remedy.

The tests compare places, values, and the names and numbers that a message must contain; one snapshot has all wordings.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.cli.exit_codes import ExitCode, of_error
from autotuner.errors import Problem, UsageError
from autotuner.study_file.loader import parse_study
from autotuner.study_file.machine_settings import parse_site
from support.studies.files import OLDER_TASK, STUDY_FILE

BASE: dict[str, Any] = {
    "model": "m.gguf",
    "engine": "llama_cpp",
    "parameters": {"threads": [1, 2]},
    "workload": {"scenarios": "D(128,48)", "concurrency": [1, 8]},
    "objective": "max output_throughput",
}

Facts = tuple[str, ...]
"""Names and numbers in the reason or the remedy."""

SECTIONS: list[tuple[dict[str, Any], str, str, Facts]] = [
    ({"engin": 1}, "engin", "", ("engine",)),
    ({"model": 3}, "model", "3", ()),
    ({"model": {"path": "m", "pth": "m"}}, "model.pth", "", ("path",)),
    ({"engine": {"kind": "x", "arg": {}}}, "engine.arg", "", ("args",)),
    ({"engine": {"kind": "x", "env": {"A": {"b": 1}}}}, "engine.env.A", "(hidden)", ()),
    ({"name": "a b"}, "name", "a b", ("63",)),
    ({"parameters": {"a": 4}}, "parameters.a", "4", ("[a, b]", "engine.args")),
    ({"parameters": {"a": []}}, "parameters.a", "[]", ()),
    ({"parameters": {"a": [1, 2, 1]}}, "parameters.a", "[1, 2, 1]", ("1",)),
    ({"parameters": {"a": {"low": 3, "hihg": 4}}}, "parameters.a.hihg", "", ("high",)),
    ({"parameters": {"a": {"low": 4, "high": 3}}}, "parameters.a", "{low, high}", ("4", "3")),
    ({"parameters": {"a": {"low": 0, "high": 8, "log": True}}}, "parameters.a", "{low, high, log}", ("0",)),
    ({"parameters": {"a": {"low": 1, "high": 10**9}}}, "parameters.a", "{low, high}", ("100000",)),
    ({"parameters": {"a": {"low": 1, "high": 2, "choices": [1]}}}, "parameters.a", "{low, high, choices}", ()),
    ({"parameters": {"tp-size": [1], "tp_size": [2]}}, "parameters.tp_size", "", ("tp-size",)),
    ({"parameters": {"a b": [1]}}, "parameters.a b", "a b", ("tp-size",)),
    ({"parameters": {"env.A B": [1]}}, "parameters.env.A B", "", ("OMP_NUM_THREADS",)),
    ({"engine": {"kind": "x", "args": {"threads": 1}}}, "parameters.threads", "", ("engine.args.threads",)),
    ({"constraints": "threads = 1"}, "constraints", "threads = 1", ("=", "9", "==")),
    ({"constraints": ["1 < 2"]}, "constraints[0]", "1 < 2", ()),
    ({"objective": "min ttft"}, "objective", "min ttft", ("min", "p50", "p99")),
    ({"objective": "max p99 ttft"}, "objective", "max p99 ttft", ("min",)),
    ({"objective": "max p99 goodput"}, "objective", "max p99 goodput", ("p99",)),
    ({"objective": "min p99 tttf"}, "objective", "min p99 tttf", ("tttf", "ttft")),
    ({"objective": "fast"}, "objective", "fast", ("max output_throughput", "min p99 ttft at concurrency=8")),
    ({"objective": "min p99 ttft at concurrency=9"},
     "objective", "min p99 ttft at concurrency=9", ("concurrency=9", "concurrency=1", "concurrency=8")),
    ({"objective": ["max goodput", "min p99 ttft for D(1,1)"]},
     "objective[1]", "min p99 ttft for D(1,1)", ("D(1,1)", "D(128,48)")),
    ({"objective": []}, "objective", "[]", ("1", "0")),
    ({"slo": "p99 ttft <= 200"}, "slo", "p99 ttft <= 200", ("200", "200ms", "200s")),
    ({"slo": "p99 ttft < 1s"}, "slo", "p99 ttft < 1s", ("<", "<=", ">=")),
    ({"slo": "p98 ttft <= 1s"}, "slo", "p98 ttft <= 1s", ("p98", "p99")),
    ({"slo": "p99 ttft >= 1s"}, "slo", "p99 ttft >= 1s", ("<=",)),
    ({"slo": {"metric": "ttft", "at_most": 1}}, "slo", "{metric, at_most}", ("1", "1ms", "1s")),
    ({"slo": {"metric": "ttft", "at_mots": "1s"}}, "slo.at_mots", "", ("at_most",)),
    ({"slo": {"metric": "ttft"}}, "slo", "{metric}", ("at_most", "at_least")),
    ({"slo": "p99 ttft of my chat <= 1s"}, "slo", "p99 ttft of my chat <= 1s", ("my chat", "part 1")),
    ({"slo": "p99 ttft of chat <= 1s"}, "slo", "p99 ttft of chat <= 1000ms", ("D(128,48)", "of chat")),
    ({"slo": "p99 ttft of part 1 <= 1s"}, "slo", "p99 ttft of part 1 <= 1000ms", ("part 1", "concurrency=1")),
    ({"slo": ["p99 ttft of part 3 <= 1s"], "workload": {"scenarios": "mix:D(8,8) + D(9,9)", "concurrency": 1}},
     "slo[0]", "p99 ttft of part 3 <= 1000ms", ("part 3", "part 1, part 2")),
    ({"min_success_rate": "101%"}, "min_success_rate", "101%", ("1", "0.99", "99%")),
    ({"search": {"trails": 3}}, "search.trails", "", ("trials",)),
    ({"search": {"kind": "grid"}}, "search.kind", "", ("strategy",)),
    ({"search": {"trials": 0}}, "search.trials", "0", ("1",)),
    ({"search": {"time": "10x"}}, "search.time", "10x", ("500ms", "2s", "5m", "1h")),
    ({"search": {"stop": {"remaining_gain": "3%", "gain": 1}}}, "search.stop.gain", "", ("remaining_gain",)),
    ({"search": {"stop": {"confidence": "95%"}}}, "search.stop.remaining_gain", "", ()),
    ({"search": {"stop": {"remaining_gain": "0%"}}}, "search.stop.remaining_gain", "0%", ("0", "100%", "3%")),
    ({"search": {"stop": {"remaining_gain": "3%", "confidence": "99.9%"}}},
     "search.stop.confidence", "0.999", ("0.99",)),
    ({"search": {"stop": "300%"}}, "search.stop", "300%", ("100%", "3%")),
    ({"search": {"stop": 3}}, "search.stop", "3", ("3%",)),
    ({"search": {"stop": True}}, "search.stop", "true", ("{remaining_gain: 3%, confidence: 95%}",)),
    ({"search": {"stop": {"remaining_gain": "3%", "confidence": "50%"}}},
     "search.stop.confidence", "0.5", ("0.8", "0.95")),
    ({"search": {"warm_start": "earlier"}}, "search.warm_start", "earlier", ("auto", "none", "[earlier]")),
    ({"search": {"warm_start": 3}}, "search.warm_start", "3", ("auto", "none", "[NAME, ..]")),
    ({"confirm": False}, "confirm", "false", ("{at_most: 6}", "{repeats: 0}")),
    ({"confirm": 3}, "confirm", "3", ("{at_most: 6}",)),
    ({"confirm": {"margin": 2}}, "confirm.margin", "2", ("2%",)),
    ({"prices": 2.5}, "prices", "2.5", ("{H100: 2.5}",)),
    ({"prices": [1]}, "prices", "[1]", ("{H100: 2.49}",)),
    ({"workload": 3}, "workload", "3", ("{KEY: VALUE, ..}",)),
    ({"slo": 3}, "slo", "3", ("p99 ttft <= 200ms",)),
    ({"confirm": {"repeat": 3}}, "confirm.repeat", "", ("repeats",)),
    ({"confirm": {"repeats": 3, "at_most": 12}}, "confirm", "{repeats, at_most}", ("at_most", "repeats")),
    ({"confirm": {"margin": "0.1%"}}, "confirm.margin", "0.1%", ("0.5%",)),
    ({"confirm": {"at_most": 1}}, "confirm.at_most", "1", ("2", "12")),
    ({"confirm": {"confidence": "100%"}}, "confirm.confidence", "1.0", ("0.9999",)),
    ({"quantization": 3}, "quantization", "3", ()),
    ({"quantization": "dynamic-pf8"}, "quantization.preset", "dynamic-pf8", ("dynamic-fp8",)),
    ({"quantization": {"preset": ["default", "kvcache-fp8"]}},
     "quantization.preset[1]", "kvcache-fp8", ("kv-cache-fp8",)),
    ({"quantization": {"kv_cash": "fp8"}}, "quantization.kv_cash", "", ("kv_cache",)),
    ({"quantization": {"kv_cache": ["auto", "fp8_e4"]}}, "quantization.kv_cache[1]", "fp8_e4", ("fp8_e4m3",)),
    ({"quantization": {"kv_cache": {"low": 1, "high": 2}}}, "quantization.kv_cache", "", ()),
    ({"quantization": {"kv_cache": "fp8", "kv-cache": "fp8"}}, "quantization.kv-cache", "", ("kv_cache",)),
    ({"parallelism": {"tp": 0}}, "parallelism.tp", "0", ("1",)),
    ({"parallelism": {"tp": [1, "2"]}}, "parallelism.tp[1]", "2", ("1",)),
    ({"parallelism": {"tp": [1, 1]}}, "parallelism.tp", "[1, 1]", ("1",)),
    ({"parallelism": {"tp": {"low": 1.0, "high": 2}}}, "parallelism.tp", "", ()),
    ({"parallelism": {"tp": {"low": 0, "high": 2}}}, "parallelism.tp", "0", ("1",)),
    ({"parameters": {"parallelism.tp": [1, 2]}}, "parameters.parallelism.tp", "", ()),
    ({"engine": {"kind": "x", "args": {"quantization.kv-cache": "fp8"}}},
     "engine.args.quantization.kv-cache", "", ("kv_cache",)),
]  # fmt: skip
WORKLOADS: list[tuple[dict[str, Any], str, str, Facts]] = [
    ({"concurrency": [1, 1]}, "workload", "{scenarios, concurrency}", ()),
    ({"concurrency": []}, "workload", "{scenarios, concurrency}", ("[1, 8]",)),
    ({"concurrency": True}, "workload.concurrency", "true", ()),
    ({"scenarios": "E(64)"}, "workload", "{scenarios, concurrency}", ("api: embeddings",)),
    ({"scenarios": "R(64,8)", "api": "embeddings"}, "workload", "{scenarios, concurrency, api}", ("api: rerank",)),
    ({"scenarios": "D(8,8)", "api": "rerank"}, "workload", "{scenarios, concurrency, api}", ("R(document,query)",)),
    ({"scenarios": "E(8)", "api": "embeddings", "prefix_tokens": 64}, "workload",
     "{scenarios, concurrency, api, prefix_tokens}", ("prefix_tokens",)),
    ({"scenarios": "E(8) documents=0"}, "workload.scenarios", "E(8) documents=0", ("1 to 10000",)),
    ({"scenarios": "I(64)"}, "workload.scenarios", "I(64)", ("I(width,height)",)),
    ({"scenarios": "I(64,64)", "api": "completions"}, "workload", "{scenarios, concurrency, api}", ("api: chat",)),
    ({"stream": "no"}, "workload.stream", "no", ()),
    ({"scenarios": "D(0,1)"}, "workload.scenarios", "D(0,1)", ("1",)),
    ({"scenarios": "U(9,2)/(1,2)"}, "workload.scenarios", "U(9,2)/(1,2)", ("9", "2")),
    ({"rates": {"rate": 1, "burstiness": 2}}, "workload.rates", "{rate, burstiness}", ()),
    ({"warmpu": "2s"}, "workload.warmpu", "", ("warmup",)),
    ({"scenarios": "trace:t", "concurrency": 1}, "workload", "{scenarios, concurrency}", ("speeds",)),
    ({"scenarios": ["D(8,8)", "trace:t"]}, "workload", "{scenarios, concurrency}", ()),
    ({"speeds": [2]}, "workload", "{scenarios, concurrency, speeds}", ("trace:FILE",)),
    ({"scenarios": "trace:t from=2s to=1s"}, "workload.scenarios", "trace:t from=2s to=1s", ("to", "from")),
    ({"scenarios": "trace:t sample=0%"}, "workload.scenarios", "trace:t sample=0%", ("sample=10%",)),
    ({"scenarios": {"trace": "t", "too": "1s"}}, "workload.scenarios", "{trace, too}", ("to",)),
    ({"scenarios": ["D(8,8)", "dataset:d.jsonl"], "prefix_tokens": 64}, "workload.prefix_tokens", "64",
     ("dataset:d.jsonl",)),
    ({"scenarios": "D(8,8) prefixes=4"}, "workload.scenarios", "D(8,8) prefixes=4", ("prefix_tokens",)),
    ({"scenarios": "D(8,8) prefixs=4"}, "workload.scenarios", "D(8,8) prefixs=4", ("prefixes",)),
    ({"scenarios": {"lengths": "D(8,8)", "prefixes": 4, "prefix_tokens": 8}}, "workload.scenarios",
     "{lengths, prefixes, prefix_tokens}", ("16",)),
    ({"scenarios": "D(8,8) prefixes=4 prefix_tokens=32", "prefix_tokens": 64}, "workload.prefix_tokens", "64",
     ("D(8,8) prefixes=4 prefix_tokens=32",)),
    ({"scenarios": "mix:1 D(8,8)"}, "workload.scenarios", "mix:1 D(8,8)", ("2 to 1000",)),
    ({"scenarios": "mix:0% D(8,8) + 3 D(9,9)"}, "workload.scenarios", "mix:0% D(8,8) + 3 D(9,9)", ("above 0",)),
    ({"scenarios": {"mix": ["D(8,8)", "trace:x"]}}, "workload.scenarios", "{mix}", ("trace:x", "dataset:FILE")),
    ({"scenarios": {"mix": ["D(8,8)", "dataset:d"]}, "prefix_tokens": 64}, "workload.prefix_tokens", "64",
     ("dataset:d",)),
    ({"scenarios": {"mix": ["D(8,8)", "dataset:d"]}, "api": "completions", "token_ids": True},
     "workload", "{scenarios, concurrency, api, token_ids}", ("dataset:d",)),
    ({"users": 2}, "workload", "{scenarios, concurrency, users}", ("turns=U(2,6)",)),
    ({"scenarios": "D(8,8) turns=2"}, "workload", "{scenarios, concurrency}", ("users",)),
    ({"scenarios": "dataset:d turns=all"}, "workload", "{scenarios, concurrency}", ("users",)),
    ({"scenarios": "dataset:d turns=3", "concurrency": [], "users": 2}, "workload.scenarios", "dataset:d turns=3",
     ("turns=all",)),
    ({"scenarios": "dataset:d turns=all later=8", "concurrency": [], "users": 2}, "workload.scenarios",
     "dataset:d turns=all later=8", ("later",)),
    ({"scenarios": "D(8,8) turns=2", "concurrency": []}, "workload", "{scenarios, concurrency}", ("[4, 16]",)),
    ({"scenarios": ["D(8,8) turns=2", "D(8,8)"]}, "workload", "{scenarios, concurrency}", ("other scenarios",)),
    ({"scenarios": "D(8,8) turns=0", "concurrency": [], "users": 2}, "workload.scenarios", "D(8,8) turns=0", ("1000",)),
    ({"scenarios": "D(8,8) turns=2", "concurrency": [], "users": 2, "api": "completions", "token_ids": True},
     "workload", "{scenarios, concurrency, users, api, token_ids}", ("answers", "token_ids")),
    ({"scenarios": "dataset:d turns=all", "concurrency": [], "users": 2, "api": "completions", "token_ids": True},
     "workload", "{scenarios, concurrency, users, api, token_ids}", ("dataset:d turns=all", "token_ids")),
    ({"scenarios": "D(8,8) turns=2", "load": "capacity", "concurrency": []}, "workload",
     "{scenarios, concurrency, load}", ("concurrency",)),
    ({"stages": "2/s:10q"}, "workload.stages", "2/s:10q", ("stage 1", "2/s:10s")),
    ({"stages": [[{"rate": 2, "for": "1s"}, {"rate": 2}]]}, "workload.stages[0]", "(a list)", ("stage 2",)),
    ({"stages": ["1/s:9s", "1/s:9s"]}, "workload", "{scenarios, concurrency, stages}", ("twice",)),
    ({"scenarios": "trace:t", "stages": "2/s:9s"}, "workload", "{scenarios, concurrency, stages}", ("speeds",)),
    ({"scenarios": {"mix": [{"wght": 2, "scenario": "D(8,8)"}]}}, "workload.scenarios", "{mix}", ("weight",)),
]  # fmt: skip
VARIABLES: list[tuple[dict[str, Any], str, str, Facts]] = [
    ({"engine": {"kind": "vllm", "env": {"A": ["x", "y"]}}}, "engine.env.A", "(hidden)", ("env.NAME", "[..]")),
    ({"engine": {"kind": "vllm", "env": {"A": None}}}, "engine.env.A", "(hidden)", ()),
    ({"engine": {"kind": "vllm", "env": {"A B": "x"}}}, "engine.env", "{A B}", ("OMP_NUM_THREADS",)),
    ({"engine": {"kind": "vllm", "env": {"A=B": "x"}}}, "engine.env", "{A=B}", ("A=B", "OMP_NUM_THREADS")),
    ({"engine": {"kind": "vllm", "env": {"AUTOTUNER_OWNER": "x"}}},
     "engine.env", "{AUTOTUNER_OWNER}", ("AUTOTUNER_OWNER",)),
    ({"engine": {"kind": "vllm", "args": {"env.A": "x"}}}, "engine.args.env.A", "", ("engine.env",)),
    ({"parameters": {"env.HF_TOKEN": ["a", "b"]}}, "parameters.env.HF_TOKEN", "", ("engine.env",)),
    ({"parameters": {"env.CUDA_VISIBLE_DEVICES": ["0", "1"]}},
     "parameters.env.CUDA_VISIBLE_DEVICES", "", ("deploy.gpu_ids",)),
    ({"parameters": {"env.AUTOTUNER_X": ["0", "1"]}}, "parameters.env.AUTOTUNER_X", "", ()),
    ({"parameters": {"env.A.B": ["0", "1"]}}, "parameters.env.A.B", "", ("OMP_NUM_THREADS",)),
    ({"parameters": {"env.A": [["0", "1"]]}}, "parameters.env.A", "", ()),
    ({"engine": {"kind": "vllm", "env": {"A": "1"}}, "parameters": {"env.A": ["0"]}},
     "parameters.env.A", "", ("engine.env.A",)),
]  # fmt: skip
TASKS: list[tuple[dict[str, Any], str, str, Facts]] = [
    ({"optimisation": {}}, "optimisation", "", ("optimization",)),  # codespell:ignore
    ({"quant_config": 3}, "quant_config", "", ("attention_dtype", "gemm_dtype", "kvcache_dtype", "moe_dtype")),
    ({"quant_config": {"gem_dtype": "fp8"}}, "quant_config.gem_dtype", "", ("gemm_dtype",)),
    ({"quant_config": {"preset": "default", "presets": ["default"]}}, "quant_config.presets", "", ()),
    ({"quant_config": {"presets": ["default", "dynamic-pf8"]}},
     "quantization.preset[1]", "dynamic-pf8", ("dynamic-fp8",)),
    ({"parallel_config": {"moe_tp": 2}}, "parallel_config.moe_tp", "", ()),
    ({"parallel_config": {"enable_expert_parallel": True}}, "parallel_config.enable_expert_parallel", "", ()),
    ({"parallel_config": {"ep": 2, "moe_ep": 2}}, "parallel_config.moe_ep", "", ()),
    ({"parallel_config": {"tp": ["2"]}}, "parallelism.tp[0]", "2", ("1",)),
    ({"parallel_config": {"moe_dense_tp": [1, 2]}, "parameters": {"moe-dense-tp-size": [1]}},
     "parallel_config.moe_dense_tp", "", ("parameters.moe-dense-tp-size",)),
    ({"deployment_mode": "dokcer"}, "deployment_mode", "dokcer", ("docker",)),
    ({"parameters": {"a": 4}}, "parameters.a", "4", ("[a, b]",)),
    ({"parameters": {"tp_size": [1], "tp-size": [2]}}, "parameters.tp-size", "", ("tp_size",)),
    ({"optimization": {"strategy": "grid"}}, "optimization.strategy", "grid", ("grid_search",)),
    ({"optimization": {"max_iterations": 0}}, "optimization.max_iterations", "0", ("0",)),
    ({"slo": {"latency": {"p95": {}}}}, "slo.latency.p95", "", ("p50", "p90", "p99")),
    ({"slo": {"ttft": {"treshold": 1}}}, "slo.ttft.treshold", "", ("threshold",)),
    ({"base_runtime": ...}, "base_runtime", "", ()),
]  # fmt: skip
TEXTS: list[tuple[str, str, str, Facts]] = [
    ("s.yaml", "a: 1\na: 2", "s.yaml:2 a", ("1)",)),
    ("s.yaml", "a: &x [1]", "s.yaml:1", ()),
    ("s.yaml", "a: !!python/object:os.system x", "s.yaml:1", ("tag:yaml.org,2002:python/object:os.system",)),
    ("s.yaml", "- 1", "s.yaml:1", ()),
    ("s.yaml", "", "s.yaml", ()),
    ("s.yaml", "a: [1\nb: 2", "s.yaml:2", ("']'",)),
    ("s.yaml", "a: 1\n---\nb: 2", "s.yaml:2", ()),
    ("s.json", '{"a": 1,\n "b": }', "s.json:2", ()),
    ("s.json", '{"a": 1,\n "a": 2}', "s.json:2 a", ("1)",)),
]  # fmt: skip
OVERRIDES: list[tuple[str, str, str, Facts]] = [
    ("search.trails=5", "--set search.trails", "", ("trials",)),
    ("serach.trials=5", "--set serach.trials", "", ("search",)),
    ("workload.concurency=5", "--set workload.concurency", "", ("concurrency",)),
    ("search.trials=many", "--set search.trials", "many", ()),
    ("workload.concurrency=[0]", "--set workload.concurrency: workload.concurrency[0]", "0", ("1",)),
    ("name.x=1", "--set name.x", "", ()),
    ("slo[3]=x", "--set slo[3]", "", ("1",)),
    ("slo.first=x", "--set slo.first", "", ("[0]",)),
    ("engine.args.x=18446744073709551616", "--set engine.args.x:1", "", ("64",)),
    ("engine.args.x={a: 1, a: 2}", "--set engine.args.x", "", ("1)",)),
    ("search.trials", "--set", "search.trials", ("PATH=VALUE", "search.trials=5")),
    ("=3", "--set", "=3", ("PATH=VALUE", "search.trials=5")),
    ("a[b=3", "--set", "a[b=3", ("PATH=VALUE", "search.trials=5")),
    ("search.trials={", "--set search.trials:1", "", ("'<stream", "end>'")),
]  # fmt: skip
SITES: list[tuple[str, str, str, Facts]] = [
    ("- a\n", "site.yaml:1", "", ()),
    ("deplyo: {}\n", "site.yaml:1 deplyo", "", ("deploy",)),
    ("deploy: docker\n", "site.yaml:1 deploy", "docker", ()),
    ("deploy:\n  docker: 5\n", "site.yaml:2 deploy.docker", "5", ()),
    ("deploy:\n  docker:\n    kind: docker\n", "site.yaml:3 deploy.docker.kind", "", ()),
]  # fmt: skip


def problems_in(text: str | dict[str, Any], source: str = "s.yaml", **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(UsageError) as caught:
        parse_study(text, source=source, folder=Path("/here"), **options)
    assert of_error(caught.value) is ExitCode.USAGE
    return caught.value.problems


def task_with(changes: dict[str, Any]) -> str:
    """A task as a file, so that problems have lines; ``...`` leaves a key out."""
    return json.dumps({k: v for k, v in {**OLDER_TASK, **changes}.items() if v is not ...}, indent=1)


def problems_of_site(text: str) -> tuple[Problem, ...]:
    with pytest.raises(UsageError) as caught:
        parse_site(text, "site.yaml")
    return caught.value.problems


def missing_facts(problem: Problem, facts: Facts) -> list[str]:
    return [fact for fact in facts if fact not in f"{problem.why} {problem.remedy}"]


@pytest.mark.parametrize(
    ("changes", "where", "value", "facts"),
    [
        *SECTIONS,
        *(({"workload": {**BASE["workload"], **changes}}, *rest) for changes, *rest in WORKLOADS),
        *(({"engine": "vllm", **changes}, *rest) for changes, *rest in VARIABLES),
    ],
)
def test_a_mistake_in_a_study(changes: dict[str, Any], where: str, value: str, facts: Facts) -> None:
    (problem,) = problems_in({**BASE, **changes})
    assert (problem.where, problem.value) == (f"s.yaml {where}", value)
    assert missing_facts(problem, facts) == []


@pytest.mark.parametrize(("changes", "where", "value", "facts"), TASKS)
def test_a_mistake_in_an_older_task(changes: dict[str, Any], where: str, value: str, facts: Facts) -> None:
    found = {p.where.partition(" ")[2]: p for p in problems_in(task_with(changes), "t.json")}
    assert found[where].value == value
    assert found[where].where.startswith("t.json:")
    assert missing_facts(found[where], facts) == []


@pytest.mark.parametrize(("source", "text", "where", "facts"), TEXTS)
def test_a_text_that_is_not_a_study(source: str, text: str, where: str, facts: Facts) -> None:
    problem = problems_in(text, source)[0]
    assert problem.where == where
    assert missing_facts(problem, facts) == []


@pytest.mark.parametrize(("assignment", "where", "value", "facts"), OVERRIDES)
def test_a_mistake_in_an_override(assignment: str, where: str, value: str, facts: Facts) -> None:
    problem = problems_in(STUDY_FILE, overrides=[assignment])[0]
    assert (problem.where, problem.value) == (where, value)
    assert missing_facts(problem, facts) == []


@pytest.mark.parametrize(("text", "where", "value", "facts"), SITES)
def test_a_mistake_in_a_site_file(text: str, where: str, value: str, facts: Facts) -> None:
    (problem,) = problems_of_site(text)
    assert (problem.where, problem.value) == (where, value)
    assert missing_facts(problem, facts) == []


def all_problems() -> Iterator[Problem]:
    for changes, *_ in SECTIONS:
        yield from problems_in({**BASE, **changes})
    for changes, *_ in WORKLOADS:
        yield from problems_in({**BASE, "workload": {**BASE["workload"], **changes}})
    for changes, *_ in VARIABLES:
        yield from problems_in({**BASE, "engine": "vllm", **changes})
    for changes, *_ in TASKS:
        yield from problems_in(task_with(changes), "t.json")
    for source, text, *_ in TEXTS:
        yield from problems_in(text, source)
    for assignment, *_ in OVERRIDES:
        yield from problems_in(STUDY_FILE, overrides=[assignment])
    for text, *_ in SITES:
        yield from problems_of_site(text)


def test_wordings(snapshot: SnapshotAssertion) -> None:
    assert "\n".join(map(str, all_problems())) == snapshot
