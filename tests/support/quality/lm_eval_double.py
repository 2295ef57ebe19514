"""A stand-in for lm-evaluation-harness 0.4.13: its command line, requests and files, for tasks that generate answers.

It knows the tasks in the folder of ``--include_path`` that :func:`write_tasks` has written, and some that fail.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

COMMAND = (sys.executable, str(Path(__file__)))
FAULT = "API request failed! Status code: 500, Response text: no"
_TRACEBACK = "  File x, line 1, in y\n" * 2000
_FAULTY = {"crash", "slow", "silent"}
_TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: 8, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}}
num_fewshot: 0
metadata: {{version: 1}}
"""


def write_tasks(folder: Path, tasks: Mapping[str, Sequence[tuple[str, str]]], *, group: str = "") -> Path:
    """Writes definitions of tasks that the harness itself understands, too.

    Args:
        folder: Where they are written to; created.
        tasks: Questions and answers by name.
        group: Name of a group of all these tasks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, items in tasks.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in items))
        (folder / f"{name}.yaml").write_text(_TASK.format(name=name, data=data))
    if group:
        (folder / f"{group}.yaml").write_text(f"group: {group}\ntask: [{', '.join(tasks)}]\n")
    return folder


def main() -> int:
    """Runs a command line of the harness."""
    parser = argparse.ArgumentParser(prog="lm-eval")
    parser.add_argument("command", nargs="?", default="run")
    for name in ("tasks", "include_path", "model", "model_args", "limit", "output_path", "num_fewshot"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--log_samples", action="store_true")
    parser.add_argument("--apply_chat_template", action="store_true")
    given = parser.parse_args()
    folder = Path(given.include_path or ".")
    names = given.tasks.split(",")
    if missing := [n for n in names if n not in _FAULTY and not (folder / f"{n}.yaml").is_file()]:
        sys.stdout.write(f"Tasks not found: {', '.join(missing)}\n")
        return 1
    if given.command == "validate":
        sys.stdout.write("All tasks found and valid\n")
        return 0
    if "slow" in names:
        time.sleep(600)
    if "crash" in names:
        # Of several requests at the same time, one that was not the first to fail may end the log.
        sys.stderr.write(f"WARNING [models] {FAULT}. Retrying...\n{_TRACEBACK}RuntimeError: Session is closed\n")
        return 1
    if "silent" not in names:
        _evaluate(names, folder, dict(pair.split("=", 1) for pair in given.model_args.split(",")), given)
    return 0


def _evaluate(names: Sequence[str], folder: Path, model: Mapping[str, str], given: argparse.Namespace) -> None:
    groups = {n: members for n in names if (members := _members(folder / f"{n}.yaml"))}
    leaves = [leaf for n in names for leaf in groups.get(n, [n])]
    if twice := next((leaf for leaf in leaves if leaves.count(leaf) > 1), None):
        raise ValueError(f"Duplicate task '{twice}'")
    output = Path(given.output_path) / model["model"].replace("/", "__")
    output.mkdir(parents=True)
    results = {}
    for leaf in leaves:
        rows = [json.loads(line) for line in (folder / f"{leaf}.jsonl").read_text().splitlines()]
        samples = [_sample(n, row, model, given.model) for n, row in enumerate(rows[: int(given.limit)])]
        mean = sum(s["exact_match"] for s in samples) / len(samples)
        results[leaf] = {
            "alias": leaf,
            "sample_len": len(samples),
            "exact_match,none": mean,
            "exact_match_stderr,none": 0,
        }
        (output / f"samples_{leaf}_2026.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
    better = {leaf: {"exact_match": True} for leaf in leaves}
    found = {"results": results, "group_subtasks": groups, "higher_is_better": better, "lm_eval_version": "0.4.13"}
    (output / "results_2026.json").write_text(json.dumps(found))


def _members(file: Path) -> list[str]:
    group, _, tasks = file.read_text().partition("task: [")
    return tasks.strip("]\n").split(", ") if group.startswith("group:") else []


def _sample(number: int, row: Mapping[str, str], model: Mapping[str, str], kind: str) -> Mapping[str, Any]:
    asked: Mapping[str, Any] = {"prompt": row["question"]}
    if kind == "local-chat-completions":
        asked = {"messages": [{"role": "user", "content": row["question"]}]}
    body = {**asked, "model": model["model"], "max_tokens": 8, "temperature": 0, "stop": ["\n\n"]}
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    response = httpx.post(model["base_url"], json=body, headers=headers, timeout=60).raise_for_status()
    choice = response.json()["choices"][0]
    text = choice["text"] if kind == "local-completions" else choice["message"]["content"]
    hashes = {
        f"{name}_hash": hashlib.sha256(content.encode()).hexdigest()
        for name, content in (("doc", json.dumps(row)), ("prompt", row["question"]), ("target", row["answer"]))
    }
    score = float(text.lower() == row["answer"].lower())
    return {"doc_id": number, "doc": row, "filter": "none", "metrics": ["exact_match"], **hashes, "exact_match": score}


if __name__ == "__main__":
    sys.exit(main())
