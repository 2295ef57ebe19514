"""Trials and their logs."""

import json
from collections.abc import Callable

import httpx

import autotuner
from autotuner.report.exports import strict_json
from autotuner.report.trial_data import trial_data

Clients = Callable[[str], httpx.Client]


def test_trials_are_filtered_and_paged(client: Clients, stored: str) -> None:
    reader = client("read")
    path = f"/api/v1/studies/{stored}/trials"
    trials = autotuner.load_result(stored).trials
    page = reader.get(path, params={"limit": 3, "offset": 2}).json()
    assert (page["total"], [t["number"] for t in page["items"]]) == (len(trials), [2, 3, 4])
    repeats = reader.get(path, params={"role": "confirm"}).json()["items"]
    assert [t["number"] for t in repeats] == [t.number for t in trials if t.role.value == "confirm"] != []
    assert reader.get(path, params={"state": "void"}).json()["total"] == 0
    best = reader.get(path, params={"sort": "value", "descending": True, "feasible": True, "limit": 2}).json()
    values = [t.verdict.objectives[0] for t in trials if t.verdict is not None and t.verdict.feasible]
    assert [t["verdict"]["objectives"][0] for t in best["items"]] == sorted(values, reverse=True)[:2]
    assert reader.get(path, params={"sort": "nope"}).status_code == 422
    whole = json.loads(strict_json(list(trials)))
    assert reader.get(path).json()["items"] == whole


def test_one_trial_is_what_show_prints(client: Clients, stored: str) -> None:
    result = autotuner.load_result(stored)
    expected = json.loads(strict_json(trial_data(result, result.trials[-1], ["last line"])))
    path = f"/api/v1/studies/{stored}/trials/{result.trials[-1].number}"
    assert client("read").get(path, params={"lines": 1}).json() == expected


def test_the_end_of_a_log(client: Clients, stored: str) -> None:
    number = autotuner.load_result(stored).trials[-1].number
    path = f"/api/v1/studies/{stored}/trials/{number}/log"
    assert client("read").get(path).json() == {"trial": number, "lines": ["first line", "last line"]}
    assert client("read").get(path, params={"lines": 1}).json()["lines"] == ["last line"]


def test_a_trial_that_does_not_exist(client: Clients, stored: str) -> None:
    answer = client("read").get(f"/api/v1/studies/{stored}/trials/1000")
    assert (answer.status_code, answer.json()["error"]["problems"][0]["value"]) == (404, "1000")


def test_latencies_whose_records_are_elsewhere_are_missing(client: Clients, stored: str) -> None:
    path = f"/api/v1/studies/{stored}/trials/0/latencies"
    found = client("read").get(path, params={"window": "measurements.1"}).json()
    assert (found["level"], found["latencies"]) == ("concurrency=16", [])
    assert "not on this machine" in found["missing"]
    answers = [client("read").get(path, params={"window": window}) for window in ("measurements.9", "argv.0")]
    assert [answer.status_code for answer in answers] == [404, 422]


def test_a_trial_over_time(client: Clients, stored: str) -> None:
    found = client("read").get(f"/api/v1/studies/{stored}/trials/0/history").json()
    assert (found["study"], found["charts"], found["length_s"] > 0) == (stored, [], True)


def test_a_trial_without_capacities_is_not_checked(client: Clients, stored: str) -> None:
    refused = client("read").get(f"/api/v1/studies/{stored}/trials/0/verification")
    assert (refused.status_code, "searched for no capacity" in refused.text) == (422, True)
    assert client("read").get(f"/api/v1/studies/{stored}/trials/999/verification").status_code == 404
