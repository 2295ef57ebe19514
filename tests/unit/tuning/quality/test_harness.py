"""Runs of lm-evaluation-harness: of the stand-in, and of the installed one (``make test-lm-eval``)."""

import os
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.benchmarks.quality.lm_eval.command import COMMAND_VARIABLE
from autotuner.deployers.local import procfs
from autotuner.net.target import Target
from autotuner.study.check import CheckStatus
from autotuner.study.launch import Labels
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.quality.tasks import TaskRun
from autotuner.testing.scripted_http import Asked, Reply, json_reply, scripted_server
from autotuner.tuning.quality.harness import evaluate, harness_checks, last_words
from support.quality.lm_eval_double import COMMAND, FAULT, write_tasks

pytestmark = pytest.mark.anyio

LABELS = Labels(study="harness", trial=1, owner="owner")
ITEMS = [(f"What is {n} + {n}?", str(2 * n)) for n in range(20)]
REAL = os.environ.get(COMMAND_VARIABLE)


def answering(asked: Asked) -> Reply:
    """Adds, but not above 10, and only for those with the key."""
    if asked.headers.get("authorization", asked.headers.get("Authorization")) != "Bearer sk-test":
        return json_reply({"error": {"message": "wrong key"}}, 401)
    body = asked.json
    question = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    number = int(question.split()[2])
    text = str(2 * number if number <= 10 else 0)
    return json_reply({"choices": [{"index": 0, "text": text, "message": {"role": "assistant", "content": text}}]})


def texts(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.rglob("*") if file.is_file())


class HarnessConformance:
    """What a run must give, whichever harness."""

    @pytest.fixture
    def command(self) -> tuple[str, ...]:
        raise NotImplementedError

    @pytest.fixture
    def spec(self, command: tuple[str, ...], tmp_path: Path) -> TasksSpec:
        there = write_tasks(tmp_path / "tasks", {"sums": ITEMS, "more_sums": ITEMS[::-1]}, group="all_sums")
        write_tasks(there, {"other_sums": ITEMS})
        return TasksSpec(names=("sums",), limit=18, include=str(there), command=command)

    async def ran(self, spec: TasksSpec, folder: Path, reply: Any = answering) -> TaskRun:
        with scripted_server(reply) as running:
            target = Target(running.url, headers={"Authorization": "Bearer sk-test"})
            return await evaluate(spec, target, "org/m", in_flight=4, labels=LABELS, folder=folder)

    @pytest.mark.parametrize("api", ["completions", "chat"])
    async def test_scores_by_item(self, spec: TasksSpec, tmp_path: Path, api: str) -> None:
        found = await self.ran(spec.replaced(api=api), tmp_path)
        assert found.problem == ""
        assert found.version == "0.4.13"
        assert found.seconds > 0
        [task] = found.tasks
        assert task.metric == "exact_match,none"
        by_number = {int(item.split("/")[1]): score for item, score in task.scores.items()}
        assert by_number == {n: float(n <= 10) for n in range(18)}
        assert "sk-test" not in texts(tmp_path)

    async def test_items_are_the_same_in_every_run(self, spec: TasksSpec, tmp_path: Path) -> None:
        both = spec.replaced(names=("all_sums", "other_sums"))
        first = await self.ran(both, tmp_path)
        again = await self.ran(both, tmp_path)
        assert (first.problem, again.problem) == ("", "")
        assert first.tasks == again.tasks
        assert [(t.name, len(t.scores)) for t in first.tasks] == [("all_sums", 36), ("other_sums", 18)]

    async def test_a_failure_is_reported_in_its_own_words(self, spec: TasksSpec, tmp_path: Path) -> None:
        found = await self.ran(spec, tmp_path, lambda _: json_reply({"error": "no"}, 500))
        assert found.tasks == ()
        assert re.search("exited with code 1: .*500", found.problem)
        assert "500" in texts(tmp_path)

    async def test_the_time_limit_ends_it(self, spec: TasksSpec, tmp_path: Path) -> None:
        found = await self.ran(spec.replaced(time_limit_s=0.2), tmp_path)
        assert "did not finish within 0.2 s" in found.problem
        assert not [p for p in procfs.processes() if p.pid != os.getpid() and procfs.carries(p.pid, LABELS.env())]

    async def test_checks(self, spec: TasksSpec) -> None:
        [found] = await harness_checks(QualitySpec(tasks=spec))
        assert (found.status, "sums" in found.detail) == (CheckStatus.OK, True)
        [unknown] = await harness_checks(QualitySpec(tasks=spec.replaced(names=("sums", "no_such_task"))))
        assert unknown.status is CheckStatus.FAIL
        assert "no_such_task" in unknown.detail


class TestDouble(HarnessConformance):
    """The stand-in."""

    @pytest.fixture
    def command(self) -> tuple[str, ...]:
        return COMMAND

    async def test_faults(self, spec: TasksSpec, tmp_path: Path) -> None:
        crashed = await self.ran(spec.replaced(names=("crash",)), tmp_path)
        assert FAULT in crashed.problem
        silent = await self.ran(spec.replaced(names=("silent",)), tmp_path)
        assert silent.problem == "lm-eval: it wrote no results"
        slow = await self.ran(spec.replaced(names=("slow",), time_limit_s=2.0), tmp_path)
        assert "did not finish within 2 s" in slow.problem

    async def test_results_of_an_interrupted_trial_do_not_count(self, spec: TasksSpec, tmp_path: Path) -> None:
        await self.ran(spec, tmp_path)
        assert (await self.ran(spec.replaced(names=("silent",)), tmp_path)).tasks == ()

    async def test_it_ends_with_the_trial(self, spec: TasksSpec, tmp_path: Path) -> None:
        with anyio.move_on_after(1):
            await self.ran(spec.replaced(names=("slow",)), tmp_path)
        assert not [p for p in procfs.processes() if p.pid != os.getpid() and procfs.carries(p.pid, LABELS.env())]

    async def test_a_missing_program(self, spec: TasksSpec, tmp_path: Path) -> None:
        missing = spec.replaced(command=("/nowhere/lm_eval",))
        assert "cannot run /nowhere/lm_eval: No such file" in (await self.ran(missing, tmp_path)).problem
        [check] = await harness_checks(QualitySpec(tasks=missing))
        assert check.status is CheckStatus.FAIL
        assert "pip install" in check.remedy
        assert await harness_checks(QualitySpec()) == await harness_checks(None) == []

    async def test_a_server_that_it_cannot_reach(self, spec: TasksSpec, tmp_path: Path) -> None:
        target = Target("http://h", headers={"X-Key": "1"})
        found = await evaluate(spec, target, "m", in_flight=1, labels=LABELS, folder=tmp_path)
        assert "X-Key" in found.problem


@pytest.mark.lm_eval
@pytest.mark.skipif(not REAL, reason="no lm-evaluation-harness: make test-lm-eval installs one")
class TestReal(HarnessConformance):
    """The harness itself."""

    @pytest.fixture
    def command(self) -> tuple[str, ...]:
        return (REAL or "",)


def test_last_words() -> None:
    assert last_words(["one", " 50%|###", "\x1b[31mValueError: no\x1b[0m", ""]) == "ValueError: no"
    assert last_words(["  "]) == ""
    refused = "API request failed! Status code: 400, Response text: no logprobs. Retrying..."
    assert last_words([f"WARNING [models] {refused}", "Error: 400"]) == refused
    assert len(last_words(["x" * 1000])) == 300
