"""Files that a workload names: local ones are read and checked, hub names are refused."""

from pathlib import Path

import pytest

from autotuner.benchmarks.measuring import inputs
from autotuner.benchmarks.measuring.inputs import input_checks, tokenizer_text
from autotuner.errors import UsageError
from autotuner.study.check import CheckStatus
from autotuner.study.workload import Concurrency, Scenario, Workload


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B", "gpt2", "https://example.com/tokenizer.json"])
def test_a_hub_name_is_refused_and_never_looked_up(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def used(*_: object) -> None:
        raise AssertionError("something was looked up")

    monkeypatch.setattr("socket.socket.connect", used)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="never fetched from a hub"):
        tokenizer_text(name)


def test_no_code_of_a_model_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "tokenization_custom.py").write_text(f"open({str(marker)!r}, 'w')")
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "tokenization_custom.T"}}')
    with pytest.raises(UsageError):
        tokenizer_text(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match=r"not a tokenizer\.json"):
        tokenizer_text(str(tmp_path))
    assert not marker.exists()


def test_preflight_names_each_file(tmp_path: Path) -> None:
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


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr("autotuner.benchmarks.loadgen.tokens.Tokenizer", None)
    with pytest.raises(UsageError, match=r"autotuner\[tokenizer\]"):
        inputs.tokenizer_text(str(tmp_path))
