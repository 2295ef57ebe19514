"""Rows are handed out in a seeded order, and none twice as long as there are others."""

import json
from collections import Counter
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.measuring.datasets.datasets import Dataset, read_dataset
from autotuner.benchmarks.measuring.datasets.row_pool import RowPool, ServerRows, spread_order
from autotuner.benchmarks.measuring.datasets.row_supply import FEWEST_ROWS, MOST_ROWS, rows_wanted
from autotuner.study.workload import Concurrency, LoadLevel, RequestRate, Workload
from autotuner.testing.benchmark_kit import fixed_scenario

TEN = [f"row {n}" for n in range(10)]


def dataset(folder: Path, prompts: list[str]) -> Dataset:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": text, "max_tokens": 4}) for text in prompts))
    return read_dataset(str(file))


def sent(pool: RowPool, server: ServerRows, wanted: int, used: int | None = None, *, reuse: bool = False) -> list[str]:
    draw = pool.draw(server, wanted, reuse=reuse)
    pool.settle(draw, server, len(draw.rows) if used is None else used)
    return [("again " if row.get("reused") else "") + row["prompt"] for row in draw.rows[:used]]


def test_windows_of_a_server_share_no_row_until_none_is_left(tmp_path: Path) -> None:
    pool = RowPool(dataset(tmp_path, TEN), "0")
    server = ServerRows()
    texts = [sent(pool, server, 8, used) for used in (3, 4, 3)]
    assert sorted(text for part in texts for text in part) == TEN
    assert sorted(sent(pool, server, 10)) == [f"again {text}" for text in TEN]


def test_trials_share_no_row_and_then_only_those_that_a_new_server_has_not_seen(tmp_path: Path) -> None:
    pool = RowPool(dataset(tmp_path, TEN), "0")
    one = ServerRows()
    two = ServerRows()
    first = sent(pool, one, 6)
    second = sent(pool, two, 10)
    assert sorted([*first, *second[:4]]) == TEN
    assert second[4:] == first, "an empty cache cannot answer what another server was sent"


def test_rows_of_windows_at_the_same_time_differ(tmp_path: Path) -> None:
    pool = RowPool(dataset(tmp_path, TEN), "0")
    draws = [pool.draw(ServerRows(), 5) for _ in range(2)]
    assert set(draws[0].indices).isdisjoint(draws[1].indices)
    pool.settle(draws[0], ServerRows(), 0)
    assert set(pool.draw(ServerRows(), 5).indices) == set(draws[0].indices), "what was not sent is free again"


def test_a_prompt_that_the_dataset_holds_twice_is_sent_once(tmp_path: Path) -> None:
    server = ServerRows()
    pool = RowPool(dataset(tmp_path, ["a", "a", "b"]), "0")
    assert sorted(sent(pool, server, 9)) == ["a", "b"]
    assert Counter(sent(pool, server, 9)) == {"again a": 2, "again b": 1}


def test_reused_prompts_are_the_same_in_every_window(tmp_path: Path) -> None:
    server = ServerRows()
    pool = RowPool(dataset(tmp_path, [*TEN, TEN[0]]), "0")
    first = sent(pool, server, 11, reuse=True)
    assert Counter(text.removeprefix("again ") for text in first) == Counter([*TEN, TEN[0]])
    assert sum(text.startswith("again ") for text in first) == 1
    assert [f"again {t.removeprefix('again ')}" for t in first] == sent(pool, server, 11, reuse=True)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=400), st.text(max_size=3))
def test_the_order_is_a_permutation_that_its_seed_decides(costs: list[int], seed: str) -> None:
    order = spread_order(np.array(costs), seed)
    assert sorted(order) == list(range(len(costs)))
    assert order.tolist() == spread_order(np.array(costs), seed).tolist()


def test_another_seed_gives_another_order() -> None:
    costs = np.arange(1000)
    assert spread_order(costs, "1").tolist() != spread_order(costs, "2").tolist()


def test_every_stretch_of_the_order_holds_the_same_mix() -> None:
    rng = np.random.default_rng(1)
    costs = (rng.lognormal(6, 1.2, 20_000)).astype(np.int64)
    means = [part.mean() for part in costs[spread_order(costs, "0")].reshape(100, 200)]
    plain = [part.mean() for part in rng.permutation(costs).reshape(100, 200)]
    assert fmean(means) == pytest.approx(costs.mean())
    assert np.std(means) < np.std(plain) / 1.5


def test_answers_without_a_length_are_counted_by_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "five words make five tokens"}]
    file = tmp_path / "talk.json"
    file.write_text(json.dumps([{"conversations": turns}]))
    pool = RowPool(read_dataset(str(file)), "0")
    counted = pool.draw(ServerRows(), 1, tokenizer_json=tokenizer.to_str())
    assert counted.rows == ({"prompt": "q", "max_tokens": 5},)


@pytest.mark.parametrize(
    ("level", "most"),
    [(Concurrency(in_flight=1), 60_000), (Concurrency(in_flight=512), MOST_ROWS), (RequestRate(rate=40), 4921)],
)
def test_a_window_gets_as_many_rows_as_it_can_use(level: LoadLevel, most: int) -> None:
    workload = Workload(scenarios=(fixed_scenario(1, 1),), levels=(level,), warmup_s=3.0, duration_s=30.0)
    assert FEWEST_ROWS <= rows_wanted(workload, level, 30.0, 4.0) <= most
