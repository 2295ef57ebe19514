"""Scores in the files that lm-evaluation-harness writes with ``--log_samples``.

``results_*.json`` has the metrics of each task, in the task's order, with the filter of answers that each of them
applies to; ``samples_TASK_*.jsonl`` has one line per item and filter.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotuner.study.quality.tasks import TaskRun, TaskScores

_HASHES = ("doc_hash", "prompt_hash", "target_hash")
_HASH_DIGITS = 8


class NoScoresError(Exception):
    """The files contain no score per item. The message has one line."""


def read_scores(folder: Path, names: Sequence[str], metric: str | None) -> TaskRun:
    """Reads the scores of one run.

    Args:
        folder: The harness's output folder.
        names: Tasks, or groups of tasks, whose items are pooled.
        metric: Metric, with or without filter; None: the first of each task for which more is better.

    Returns:
        Without the duration of the run.

    Raises:
        NoScoresError: A task has no scores from 0 to 1.
    """
    found = max(folder.rglob("results_*.json"), default=None, key=lambda path: path.stat().st_mtime)
    if found is None:
        raise NoScoresError("it wrote no results")
    results = _read(found.read_text(encoding="utf-8"), found)
    tasks = tuple(_task(name, found.parent, results, metric) for name in names)
    return TaskRun(tasks=tasks, version=str(results.get("lm_eval_version") or ""))


def _task(name: str, folder: Path, results: Mapping[str, Any], metric: str | None) -> TaskScores:
    scores: dict[str, float] = {}
    chosen = ""
    for leaf in _leaves(name, results):
        measured, answer_filter = _metric(leaf, results, metric)
        chosen = chosen or f"{measured},{answer_filter}"
        file = max(folder.glob(f"samples_{leaf}_*.jsonl"), default=None)
        if file is None:
            raise NoScoresError(f"it wrote no samples of task {leaf}")
        for text in file.read_text(encoding="utf-8").split("\n"):
            row = _read(text, file) if text else {}
            if row and row.get("filter", answer_filter) == answer_filter:
                scores[_item(leaf, row)] = _score(leaf, measured, row)
    if not scores:
        raise NoScoresError(f"task {name} has no items")
    return TaskScores(name=name, metric=chosen, scores=scores)


def _leaves(name: str, results: Mapping[str, Any]) -> Iterator[str]:
    """The tasks in a group, or the task itself."""
    inside = results.get("group_subtasks", {}).get(name)
    if inside:
        for one in inside:
            yield from _leaves(one, results)
    elif name in results.get("results", {}):
        yield name
    else:
        raise NoScoresError(f"it has no results of {name}: name a task or a group")


def _metric(leaf: str, results: Mapping[str, Any], wanted: str | None) -> tuple[str, str]:
    """Metric and filter."""
    better = results.get("higher_is_better", {}).get(leaf, {})
    listed = [key for key in results["results"][leaf] if "," in key and "_stderr," not in key]
    for key in listed:
        measured, _, answer_filter = key.partition(",")
        if wanted in (key, measured) if wanted else better.get(measured):
            return measured, answer_filter
    what = f"no metric {wanted}" if wanted else "no metric for which more is better"
    raise NoScoresError(f"task {leaf} has {what} (it has {', '.join(listed) or 'none'})")


def _item(leaf: str, row: Mapping[str, Any]) -> str:
    hashes = "".join(str(row.get(name, ""))[:_HASH_DIGITS] for name in _HASHES)
    return f"{leaf}/{row.get('doc_id')}/{hashes}"


def _score(leaf: str, metric: str, row: Mapping[str, Any]) -> float:
    value = row.get(metric)
    if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
        raise NoScoresError(f"metric {metric} of task {leaf} is not a score from 0 to 1 per item")
    return float(value)


def _read(text: str, file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise NoScoresError(f"cannot read {file.name}")
    return found
