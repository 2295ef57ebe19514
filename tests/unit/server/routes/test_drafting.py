"""What clients need to write a study."""

from collections.abc import Callable

import httpx
import pytest

import autotuner
from autotuner.server.routes.drafting import Goal
from autotuner.tuning.planning.starter.goals import StarterGoal

Clients = Callable[[str], httpx.Client]


def test_the_schema_is_that_of_the_command(client: Clients) -> None:
    assert client("read").get("/api/v1/schema").json() == autotuner.study_schema()


def test_the_parameters_are_those_of_the_engine(client: Clients) -> None:
    found = client("read").get("/api/v1/engines/llama_cpp/parameters").json()
    assert [entry["name"] for entry in found] == [e.name for e in autotuner.engine_parameters("llama_cpp")]
    assert next(entry for entry in found if entry["name"] == "batch-size")["default"] == 2048


@pytest.mark.parametrize("goal", Goal)
def test_a_starter_can_be_planned_by_a_client_that_is_no_administrator(client: Clients, goal: Goal) -> None:
    writer = client("write")
    text = writer.get("/api/v1/engines/simulated/starter", params={"goal": goal.value, "name": "mine"}).text
    plan = writer.post("/api/v1/studies/plan", json={"study": text})
    assert plan.status_code == 200, plan.text
    assert plan.json()["study"] == "mine"
    assert plan.json()["launchable"] > 1


def test_the_goals_are_those_of_the_starter_file() -> None:
    assert list(map(str, Goal)) == list(map(str, StarterGoal))


@pytest.mark.parametrize("path", ["parameters", "starter", "starter?goal=best", "starter?name=/x"])
def test_what_is_unknown_is_refused(client: Clients, path: str) -> None:
    engine = "vllm" if "?" in path else "vlm"
    answer = client("read").get(f"/api/v1/engines/{engine}/{path}")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "usage")
