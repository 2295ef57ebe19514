"""Values of a study file changed on the command line: their paths and types."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.study_file.loader import parse_study
from autotuner.study_file.located_document import Document, read_text
from autotuner.study_file.overrides import apply_overrides
from support.studies.files import STUDY_FILE


def changed(*assignments: str) -> dict[str, Any]:
    document = Document(
        "s", {"engine": "vllm", "search": {"trials": 3}, "parameters": {"max-num-seqs": [8], "t": {"low": 1}}}
    )
    apply_overrides(document, assignments)
    return dict(document.data)


@pytest.mark.parametrize(
    ("assignment", "section", "expected"),
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
def test_a_value_is_set_at_its_path(assignment: str, section: str, expected: object) -> None:
    assert changed(assignment)[section] == expected


def test_the_study_has_the_overridden_values() -> None:
    assignments = ("search.trials=5", "workload.concurrency=[4]", "name=other", "slo[0]=p50 ttft <= 1s")
    spec = parse_study(STUDY_FILE, source="s.yaml", folder=Path("/"), overrides=assignments).spec
    assert (spec.name, spec.search.kind, spec.search.trials) == ("other", "grid", 5)
    assert [level.text for level in spec.workload.levels] == ["concurrency=4"]
    assert [slo.text for slo in spec.slos] == ["p50 ttft <= 1000ms"]


def test_problems_elsewhere_keep_their_lines() -> None:
    with pytest.raises(UsageError) as error:
        parse_study(
            STUDY_FILE.replace("objective: max", "objective: mox"),
            source="s.yaml",
            folder=Path("/"),
            overrides=["search.trials=5"],
        )
    assert [p.where for p in error.value.problems] == ["s.yaml:9 objective"]


def test_a_path_in_words_gets_the_line_of_its_nearest_part() -> None:
    text = "model: m.gguf\nparameters:\n  threads: [1, 2]\nsearch: {trials: 3}\n"
    document = read_text(text, "s.yaml")
    apply_overrides(document, ["search.trials=5"])
    assert document.placed("parameters") == "s.yaml:2 parameters"
    assert document.placed("parameters.threads[1]") == "s.yaml:3 parameters.threads[1]"
    assert document.placed("parameters.threads.when") == "s.yaml:3 parameters.threads.when"
    assert document.placed("search.trials") == "--set search.trials"
    for unknown in ("objective", "parametersx", "--name", "s.yaml:2 parameters"):
        assert document.placed(unknown) == unknown
