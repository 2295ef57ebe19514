"""Scores in the files of lm-evaluation-harness."""

import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.benchmarks.quality.lm_eval.samples import NoScoresError, read_scores

GSM8K = {
    "alias": "gsm8k",
    "exact_match,strict-match": 0.5,
    "exact_match_stderr,strict-match": 0.1,
    "exact_match,flexible-extract": 1,
}


def written(folder: Path, results: dict[str, Any], samples: dict[str, list[dict[str, Any]]], **more: Any) -> Path:
    there = folder / "org__m"
    there.mkdir(parents=True)
    better = {leaf: dict.fromkeys(("exact_match", "acc"), True) | {"perplexity": False} for leaf in results}
    whole = {"results": results, "group_subtasks": {}, "higher_is_better": better, "lm_eval_version": "0.4.13", **more}
    (there / "results_2026-11-29T18-22-45.json").write_text(json.dumps(whole))
    for leaf, rows in samples.items():
        (there / f"samples_{leaf}_2026-11-29T18-22-45.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def row(number: int, score: Any, *, metric: str = "exact_match", **more: Any) -> dict[str, Any]:
    hashes = {f"{name}_hash": f"{name}{number}" + "0" * 60 for name in ("doc", "prompt", "target")}
    return {"doc_id": number, "filter": "none", **hashes, metric: score, **more}


def test_one_filter_of_several_counts(tmp_path: Path) -> None:
    rows = [row(n, s, filter=f) for n in range(2) for f, s in (("strict-match", n), ("flexible-extract", 1))]
    folder = written(tmp_path, {"gsm8k": GSM8K}, {"gsm8k": rows})
    found = read_scores(folder, ["gsm8k"], None)
    assert found.version == "0.4.13"
    [task] = found.tasks
    assert (task.name, task.metric, list(task.scores.values())) == ("gsm8k", "exact_match,strict-match", [0, 1])
    assert list(task.scores)[1].startswith("gsm8k/1/doc1")
    [other] = read_scores(folder, ["gsm8k"], "exact_match,flexible-extract").tasks
    assert list(other.scores.values()) == [1, 1]


def test_a_group_pools_its_tasks(tmp_path: Path) -> None:
    one = {"acc,none": 0.5, "acc_stderr,none": 0.1}
    samples = {leaf: [row(n, True, metric="acc") for n in range(3)] for leaf in ("a", "b", "c")}
    groups = {"all": ["first", "c"], "first": ["a", "b"]}
    folder = written(tmp_path, dict.fromkeys("abc", one), samples, group_subtasks=groups)
    [task] = read_scores(folder, ["all"], None).tasks
    assert len(task.scores) == 9
    assert task.metric == "acc,none"


@pytest.mark.parametrize(
    ("results", "rows", "metric", "why"),
    [
        ({"t": {"acc,none": 1}}, [], None, "no items"),
        (
            {"t": {"perplexity,none": 3}},
            [row(0, 1)],
            None,
            "no metric for which more is better (it has perplexity,none)",
        ),
        ({"t": {"acc,none": 1}}, [row(0, 1, metric="acc")], "f1", "no metric f1"),
        ({"t": {"acc,none": 1}}, [row(0, 2, metric="acc")], None, "not a score from 0 to 1"),
        ({"t": {"acc,none": 1}}, [row(0, [1, 2], metric="acc")], None, "not a score from 0 to 1"),
        ({"t": {"acc,none": 1}}, [row(0, 1)], None, "not a score from 0 to 1"),
        ({"other": {"acc,none": 1}}, [row(0, 1)], None, "no results of t"),
    ],
)
def test_files_without_scores(tmp_path: Path, results: Any, rows: Any, metric: str | None, why: str) -> None:
    folder = written(tmp_path, results, {"t": rows})
    with pytest.raises(NoScoresError) as raised:
        read_scores(folder, ["t"], metric)
    assert why in str(raised.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(NoScoresError, match="no results"):
        read_scores(tmp_path, ["t"], None)
    folder = written(tmp_path, {"t": {"acc,none": 1}}, {})
    with pytest.raises(NoScoresError, match="no samples"):
        read_scores(folder, ["t"], None)
    (folder / "org__m" / "samples_t_1.jsonl").write_text('{"doc_id": 1')
    with pytest.raises(NoScoresError, match="cannot read samples_t_1"):
        read_scores(folder, ["t"], None)
