"""Rows for the windows of a run: each is sent once, however many files there are."""

import gc
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.datasets import row_supply
from autotuner.benchmarks.measuring.datasets.row_pool import RowPool
from autotuner.benchmarks.measuring.datasets.row_supply import RowSupply, settle
from autotuner.benchmarks.measuring.inputs import input_checks
from autotuner.errors import UsageError
from autotuner.plugins.benchmark import Window
from autotuner.study.check import CheckStatus
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Api, RequestRate
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window

FILES = 5
SENT = 10
TEXT = {"type": "text", "text": "hi"}


def write_rows(file: Path, count: int, text: str = "row") -> None:
    rows = ({"prompt": f"{text} {number} of {file.stem}", "max_tokens": 4} for number in range(count))
    file.write_text("\n".join(map(json.dumps, rows)))


def mix_window(folder: Path, files: list[Path]) -> Window:
    mix = parse_scenario("mix:" + " + ".join(f"1 dataset:{file}" for file in files))
    return make_window(folder, RequestRate(rate=10.0), scenario=mix)


def send(supply: RowSupply, endpoint: UrlEndpoint, window: Window) -> list[str]:
    """The prompts of a window that sends the first rows of each part."""
    supplies = supply.supplies(endpoint, window, drain_s=1.0, tokenizer_json=None)
    settle(supplies, [SENT] * len(supplies))
    return [row["prompt"] for part in supplies if part for row in part.rows[:SENT]]


def live_pools() -> int:
    gc.collect()
    return sum(isinstance(found, RowPool) for found in gc.get_objects())


def test_a_mix_of_many_files_sends_no_row_twice(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jsonl" for number in range(FILES)]
    for file in files:
        write_rows(file, 3 * SENT)
    others = live_pools()
    supply = RowSupply()
    endpoint = UrlEndpoint("http://server")
    window = mix_window(tmp_path, files)
    sent = Counter[str]()
    for _ in range(3):
        sent.update(send(supply, endpoint, window))
        assert live_pools() == others + FILES
    assert len(sent) == 3 * SENT * FILES
    assert set(sent.values()) == {1}


def test_the_rows_of_a_changed_file_replace_the_old_ones(tmp_path: Path) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file in files:
        write_rows(file, SENT)
    others = live_pools()
    supply = RowSupply()
    endpoint = UrlEndpoint("http://server")
    window = mix_window(tmp_path, files)
    before = send(supply, endpoint, window)
    write_rows(files[0], 3 * SENT, "new row")
    after = send(supply, endpoint, window)
    assert live_pools() == others + 2, "the rows of the old file are freed"
    assert sum(text.startswith("new row") for text in after) == SENT
    assert set(after) & set(before) == {text for text in before if text.endswith("of b")}


def test_the_memory_limit_is_that_of_all_parts_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / f"{number}.jsonl" for number in range(FILES)]
    for file in files:
        write_rows(file, 3 * SENT)
    limit = sum(file.stat().st_size for file in files) // 2
    monkeypatch.setattr(row_supply, "MOST_BYTES", limit)
    window = mix_window(tmp_path, files)
    supplies = RowSupply().supplies(UrlEndpoint("http://server"), window, drain_s=1.0, tokenizer_json=None)
    rows = [len(part.rows) for part in supplies if part]
    assert len(rows) == FILES
    assert all(0 < count <= 3 * SENT / 2 for count in rows)


@pytest.mark.parametrize("turns", ["", " turns=all"])
def test_media_in_a_message_is_refused_for_completions_only(tmp_path: Path, turns: str) -> None:
    file = tmp_path / "rows.jsonl"
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    rows = [{"messages": [{"role": "user", "content": content}]} for content in ([TEXT], image)]
    file.write_text("\n".join(map(json.dumps, rows)))
    window = make_window(tmp_path, RequestRate(rate=10.0), scenario=parse_scenario(f"dataset:{file}{turns}"))
    supply = RowSupply()
    (found,) = supply.supplies(UrlEndpoint("http://server"), window, drain_s=1.0, tokenizer_json=None)
    assert found is not None
    assert len(found.rows) == 2
    workload = window.workload.model_copy(update={"api": Api.COMPLETIONS})
    window = replace(window, workload=workload)
    with pytest.raises(UsageError) as error:
        supply.supplies(UrlEndpoint("http://server"), window, drain_s=1.0, tokenizer_json=None)
    assert [problem.where for problem in error.value.problems] == [f"{file}:2"]
    (check,) = input_checks(workload)
    assert check.status is CheckStatus.FAIL
