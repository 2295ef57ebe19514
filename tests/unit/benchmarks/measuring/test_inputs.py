"""Input files of a workload: local ones are read and checked, names on a hub are refused."""

from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.inputs import input_checks, tokenizer_text
from autotuner.errors import Problem, UsageError
from autotuner.study.check import CheckStatus
from autotuner.study.workload import Concurrency, Scenario, Workload


def problem_of(tokenizer: str) -> Problem:
    """The only problem of a tokenizer's path."""
    with pytest.raises(UsageError) as error:
        tokenizer_text(tokenizer)
    (problem,) = error.value.problems
    assert problem.where == "workload.tokenizer"
    return problem


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B", "gpt2", "https://example.com/tokenizer.json"])
def test_hub_name_is_refused_without_a_connection(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.chdir(tmp_path)
    assert problem_of(name).value == name


def test_code_of_a_model_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "tokenization_custom.py").write_text(f"open({str(marker)!r}, 'w')")
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "tokenization_custom.T"}}')
    missing = problem_of(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    invalid = problem_of(str(tmp_path))
    assert (missing.value, invalid.value) == (str(tmp_path), str(tmp_path))
    assert missing.why != invalid.why
    assert not marker.exists()


def test_preflight_checks_each_file(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text('{"prompt": "a"}')
    scenarios = tuple(
        Scenario(text=f"dataset:{name}", dataset=str(tmp_path / name)) for name in ("good.jsonl", "missing.jsonl")
    )
    (tmp_path / "more.jsonl").write_text('{"prompt": "a", "tools": []}')
    more = Scenario(text="dataset:more.jsonl", dataset=str(tmp_path / "more.jsonl"))
    workload = Workload(scenarios=(*scenarios, more), levels=(Concurrency(in_flight=1),), tokenizer="gpt2")
    found = [(check.status, check.name) for check in input_checks(workload)]
    assert [status for status, _ in found] == [CheckStatus.FAIL, CheckStatus.OK, CheckStatus.FAIL, CheckStatus.WARN]
    assert all(check.detail for check in input_checks(workload) if check.status is CheckStatus.FAIL)


def test_missing_extra_is_named_with_its_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr("autotuner.benchmarks.loadgen.tokens.Tokenizer", None)
    assert "llm-inference-autotuner[tokenizer]" in problem_of(str(tmp_path)).remedy
