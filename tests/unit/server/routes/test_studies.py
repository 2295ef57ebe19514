"""Lists, results and changes of studies: the same as what the command line prints."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import autotuner
from autotuner.cli.main import main
from autotuner.report.documents.page import is_built
from autotuner.store import Store
from autotuner.tuning.run_liveness import this_owner
from support.stored_samples import store_sample

Clients = Callable[[str], httpx.Client]
PATH = "/api/v1/studies"


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Stdout of a command."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["autotuner", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    return run


def test_a_result_is_what_show_prints(client: Clients, stored: str, printed: Callable[..., str]) -> None:
    expected = json.loads(printed("show", stored, "--json"))
    assert expected.pop("exit_code") == 0
    assert client("read").get(f"{PATH}/{stored}").json() == expected


def test_best_command_and_exports_are_what_the_command_line_prints(
    client: Clients, stored: str, printed: Callable[..., str]
) -> None:
    reader = client("read")
    assert reader.get(f"{PATH}/{stored}/best").json() == json.loads(printed("best", stored, "--as", "json"))
    assert reader.get(f"{PATH}/{stored}/command").text == printed("best", stored)
    for form in ("json", "csv", "older"):
        answer = reader.get(f"{PATH}/{stored}/export", params={"form": form})
        expected = printed("export", stored, "--as", form)
        if form == "json":  # the exit code belongs to the command line
            expected = expected.replace(',\n  "exit_code": 0\n}', "\n}")
        assert answer.text == expected
        assert answer.headers["Content-Type"].startswith("text/csv" if form == "csv" else "application/json")


def test_reports_are_what_the_command_line_writes(client: Clients, stored: str, printed: Callable[..., str]) -> None:
    for form, media in (("md", "text/markdown"), *([("html", "text/html")] if is_built() else [])):
        answer = client("read").get(f"{PATH}/{stored}/report", params={"form": form})
        assert answer.text == printed("report", stored, "--format", form, "-o", "-")
        assert answer.headers["Content-Type"].startswith(media)
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{stored}.{form}"'


def test_the_list_is_what_list_prints(client: Clients, printed: Callable[..., str]) -> None:
    for kind in ("winner", "latency", "infeasible"):
        store_sample(kind)
    expected = json.loads(printed("list", "--json"))["studies"]
    page = client("read").get(PATH).json()
    assert page == {"items": expected, "total": 3, "offset": 0}
    assert client("read").get(f"{PATH}/{expected[1]['name']}/overview").json() == expected[1]


def test_the_list_is_filtered_sorted_and_paged(client: Clients) -> None:
    names = sorted(store_sample(kind).spec.name for kind in ("winner", "latency", "infeasible"))
    reader = client("read")

    def listed(**query: object) -> list[str]:
        return [item["name"] for item in reader.get(PATH, params=query).json()["items"]]

    assert listed(sort="name") == names
    assert listed(sort="name", limit=1, offset=1) == names[1:2]
    assert listed(match="*strict") == ["chat-strict"]
    assert listed(state="running") == []
    assert listed(engine="nope") == []
    page = reader.get(PATH, params={"limit": 1, "offset": 2}).json()
    assert (page["total"], page["offset"], len(page["items"])) == (3, 2, 1)


def test_a_study_that_is_not_stored_is_not_found(client: Clients) -> None:
    error = client("read").get(f"{PATH}/not-stored").json()["error"]
    assert (error["kind"], error["message"]) == ("not_found", "study = not-stored: not in the store")


def test_a_name_never_reads_a_file(
    client: Clients, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = autotuner.load_result(stored).spec.model_dump(mode="json")
    (tmp_path / "study.json").write_text(json.dumps({"name": stored, "model": known["model"]["path"]}))
    assert client("read").get(f"{PATH}/study.json").status_code == 404
    assert client("read").get(f"{PATH}/{stored}%0A").status_code == 422
    assert client("read").get(f"{PATH}/..%2Fstudy.json").status_code in {404, 422}


def test_no_command_without_a_winner(client: Clients) -> None:
    name = store_sample("infeasible").spec.name
    assert client("read").get(f"{PATH}/{name}/command").status_code == 404
    assert client("read").get(f"{PATH}/{name}/best").json()["winner"] is None


def test_stopping_requests_the_end_of_a_running_study(client: Clients, stored: str) -> None:
    writer = client("write")
    assert writer.post(f"{PATH}/{stored}/stop").json() == {"stopping": False}
    owner = this_owner()
    with Store.open() as store:
        store.owners.register(owner, time.time())
        assert store.studies.take(stored, owner.id, time.time(), dead=()) is None
        answer = writer.post(f"{PATH}/{stored}/stop")
        assert (answer.status_code, answer.json()) == (202, {"stopping": True})
        assert store.studies.stop_requested(stored)


def test_a_study_is_deleted_unless_it_runs(client: Clients, stored: str, home: Path) -> None:
    writer = client("write")
    owner = this_owner()
    with Store.open() as store:
        store.owners.register(owner, time.time())
        assert store.studies.take(stored, owner.id, time.time(), dead=()) is None
        assert writer.delete(f"{PATH}/{stored}").json()["error"]["kind"] == "conflict"
        store.studies.release(stored, owner.id)
    assert writer.delete(f"{PATH}/{stored}").status_code == 204
    assert not autotuner.open().is_stored(stored)
    assert not (home / "studies" / stored).exists()
