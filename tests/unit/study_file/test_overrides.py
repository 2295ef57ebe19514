"""Values of a study file changed on the command line: where they go, how they are typed, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.study_file.loader import parse_study
from autotuner.study_file.located_document import Document
from autotuner.study_file.overrides import apply_overrides

FILE = """
name: s
model: m
engine: vllm
parameters:
  max-num-seqs: [8, 16]
  threads: {low: 1, high: 4}
workload: {scenarios: "D(8,8)", concurrency: [1, 8]}
objective: max output_throughput
slo: [p99 ttft <= 2s]
search: grid
"""


def changed(*words: str) -> dict[str, Any]:
    document = Document(
        "s", {"engine": "vllm", "search": {"trials": 3}, "parameters": {"max-num-seqs": [8], "t": {"low": 1}}}
    )
    apply_overrides(document, words)
    return dict(document.data)


@pytest.mark.parametrize(
    ("word", "section", "expected"),
    [
        ("search.trials=5", "search", {"trials": 5}),
        ("search.time=10m", "search", {"trials": 3, "time": "10m"}),
        ("search=random", "search", "random"),
        ("engine.start_timeout=3", "engine", {"kind": "vllm", "start_timeout": 3}),
        ("engine.args.max-num-seqs=[1, 2]", "engine", {"kind": "vllm", "args": {"max-num-seqs": [1, 2]}}),
        ("engine.env.A.B=x=y", "engine", {"kind": "vllm", "env": {"A.B": "x=y"}}),
        ("parameters.max_num_seqs=[1]", "parameters", {"max-num-seqs": [1], "t": {"low": 1}}),
        ("parameters.t.low=2", "parameters", {"max-num-seqs": [8], "t": {"low": 2}}),
        ("parameters.spec.method=[null]", "parameters", {"max-num-seqs": [8], "t": {"low": 1}, "spec.method": [None]}),
        ('parameters.env.X=["1", on]', "parameters", {"max-num-seqs": [8], "t": {"low": 1}, "env.X": ["1", "on"]}),
        ("parameters.max-num-seqs[0]=9", "parameters", {"max-num-seqs": [9], "t": {"low": 1}}),
        ("deploy.kind=docker", "deploy", {"kind": "docker"}),
        ("confirm.repeats=", "confirm", {"repeats": None}),
    ],
)
def test_a_value_goes_where_its_path_leads(word: str, section: str, expected: object) -> None:
    assert changed(word)[section] == expected


def test_the_study_is_read_as_if_the_file_said_so() -> None:
    words = ("search.trials=5", "workload.concurrency=[4]", "name=other", "slo[0]=p50 ttft <= 1s")
    spec = parse_study(FILE, source="s.yaml", folder=Path("/"), overrides=words).spec
    assert (spec.name, spec.search.kind, spec.search.trials) == ("other", "grid", 5)
    assert [level.text for level in spec.workload.levels] == ["concurrency=4"]
    assert [slo.text for slo in spec.slos] == ["p50 ttft <= 1000ms"]


@pytest.mark.parametrize(
    ("word", "where", "said"),
    [
        ("search.trails=5", "--set search.trails", 'did you mean "trials"?'),
        ("serach.trials=5", "--set serach.trials", 'did you mean "search"?'),
        ("workload.concurency=5", "--set workload.concurency", 'did you mean "concurrency"?'),
        ("search.trials=many", "--set search.trials", "integer"),
        ("workload.concurrency=[0]", "--set workload.concurrency", "greater than"),
        ("name.x=1", "--set name.x", "single value"),
        ("slo[3]=x", "--set slo[3]", "1 entries"),
        ("slo.first=x", "--set slo.first", "is a list"),
        ("engine.args.x=18446744073709551616", "--set engine.args.x", "beyond 64 bits"),
        ("engine.args.x={a: 1, a: 2}", "--set engine.args.x", "written twice"),
        ("search.trials", "--set", "PATH=VALUE"),
        ("=3", "--set", "PATH=VALUE"),
        ("a[b=3", "--set", "PATH=VALUE"),
        ("search.trials={", "--set search.trials", "not valid YAML"),
    ],
)
def test_what_is_wrong_names_the_option(word: str, where: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_study(FILE, source="s.yaml", folder=Path("/"), overrides=[word])
    problem = error.value.problems[0]
    assert problem.where.startswith(where)
    assert said in f"{problem.why}; {problem.remedy}"


def test_other_problems_still_have_their_line() -> None:
    with pytest.raises(UsageError) as error:
        parse_study(
            FILE.replace("objective: max", "objective: mox"),
            source="s.yaml",
            folder=Path("/"),
            overrides=["search.trials=5"],
        )
    assert [p.where for p in error.value.problems] == ["s.yaml:9 objective"]
