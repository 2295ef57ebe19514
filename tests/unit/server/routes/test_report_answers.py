"""A report answers what its pages ask for as the server does."""

from collections.abc import Callable
from typing import Any

import httpx

import autotuner
from autotuner.api.reports import page_data
from support.stored_samples import store_sample

Clients = Callable[[str], httpx.Client]
PATH = "/api/v1/studies"


def without_time(answer: Any) -> Any:
    return {key: value for key, value in answer.items() if key != "read_at"} if isinstance(answer, dict) else answer


def test_every_answer_is_that_of_the_server(client: Clients) -> None:
    reader = client("read")
    for kind in ("winner", "failures", "several"):
        name = store_sample(kind, recorded=(0, 12) if kind == "winner" else None).spec.name
        data = page_data(None, autotuner.load_result(name))
        answers = data["answers"]
        numbers = {t.number for t in autotuner.load_result(name).trials}
        assert {f"trials/{number}" for number in numbers} <= set(answers)
        for address, answer in answers.items():
            asked = f"{PATH}/{name}/{address}"
            if address.endswith("/log"):
                continue  # only the logs that are stored with failures: others are files of this machine
            got = reader.get(asked if "trials/" not in address or "/" in address[7:] else f"{asked}?lines=0")
            assert got.status_code == 200, address
            found = got.text if address == "command" else got.json()
            if "latencies" in address:
                known = {one["metric"] for one in answer["latencies"]}
                assert known >= {"ttft", "tpot"} or answer["missing"]
                found["latencies"] = [one for one in found["latencies"] if one["metric"] in known]
            assert without_time(answer) == without_time(found), address
