"""Commands on stored studies: output and exit codes."""

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

import autotuner
from autotuner.cli.main import main
from autotuner.cli.run import written_report
from autotuner.report.documents import page
from autotuner.store import Store
from autotuner.store.paths import study_folder, trial_folder
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.launch import Labels
from autotuner.study.owner import Owner
from autotuner.study.trial import TrialState
from autotuner.testing.samples import Sample, SampleKind
from autotuner.tuning.run_liveness import this_owner

Call = Callable[..., Any]
StoreStudy = Callable[..., Sample]


def dead_owner() -> Owner:
    """An owner whose process is gone: it has our pid, but another start time."""
    here = ProcessIdentity.of_this_process()
    return this_owner().model_copy(update={"process": here._replace(ticks=here.ticks - 1).text})


@pytest.mark.parametrize("kind", SampleKind)
def test_show_prints_every_trial(call: Call, store_study: StoreStudy, kind: SampleKind) -> None:
    sample = store_study(kind.value)
    done = call("show", sample.spec.name)
    assert (done.code, done.err) == (0, "")
    standing = "cut off" if sample.state == "running" else sample.state  # nobody runs it
    assert done.out.startswith(f"{sample.spec.name}: {standing}")
    read = call("show", sample.spec.name, "--json").data
    assert read["state"] == standing
    assert [t["number"] for t in read["trials"]] == [t.number for t in sample.trials]


def test_show_tells_a_killed_run_from_a_living_one(call: Call, store_study: StoreStudy) -> None:
    name = store_study("empty").spec.name
    with Store.open(None) as store:
        for owner, standing in ((this_owner(), "running"), (dead_owner(), "cut off")):
            store.owners.register(owner)
            holders = store.owners.all()
            assert store.studies.take(name, owner.id, time.time(), dead=[o.owner.id for o in holders]) is None
            head, *rows = call("show", name).out.splitlines()
            assert head.startswith(f"{name}: {standing}")
            assert [standing in row for row in rows].count(True) == 1, "its running trial"
            (trial,) = call("show", name, "--json").data["trials"]
            tuner = autotuner.open()
            seen = [*tuner.studies(), tuner.study(name), tuner.overview(name), tuner.load(name)]
            seen += [tuner.reader().result(name), *tuner.reader().studies().items]
            assert {found.state for found in seen} == {standing}
            assert [found["state"] for found in call("list", "--json").data["studies"]] == [standing]
            assert trial["state"] == ("running" if standing == "running" else "void")
            one = call("show", name, str(trial["number"]), "--json").data
            assert (one["trial"]["state"], one["outcome"]["text"]) == (trial["state"], standing)
    assert call("watch", name).err.startswith(f"{name}: cut off; ")


def test_best_prints_only_the_command_to_stdout(call: Call, store_study: StoreStudy) -> None:
    store_study("winner")
    done = call("best", "chat-8b")
    assert done.code == 0
    assert done.out.count("\n") == 1
    assert shlex.split(done.out)[0] == "llama-server"
    assert "trial 12," in done.err
    assert call("best", "chat-8b", "--json").data["command"] == done.out.strip()
    assert call("best", "chat-8b", "--as", "json").data["winner"] == 12


def test_best_without_a_feasible_trial_has_its_own_exit_code(call: Call, store_study: StoreStudy) -> None:
    store_study("infeasible")
    done = call("best", "chat-strict")
    assert (done.code, done.out) == (3, "")
    assert "trial 7 " in done.err, "the closest one is named"
    as_json = call("best", "chat-strict", "--json")
    assert (as_json.code, as_json.data["winner"], as_json.data["ending"]) == (3, None, "nothing_feasible")


def test_list(call: Call, store_study: StoreStudy) -> None:
    assert "autotuner init" in call("list").out
    assert call("list", "--json").data == {"studies": []}
    store_study("winner")
    store_study("infeasible")
    assert {s["name"] for s in call("list", "--json").data["studies"]} == {"chat-8b", "chat-strict"}
    assert "chat-strict" in call("list").out


def test_huge_log_is_read_from_the_end(call: Call, store_study: StoreStudy) -> None:
    """A 64 GiB log, most of it one line, could not be read as a whole."""
    store_study("winner")
    folder = trial_folder("chat-8b", 1)
    folder.mkdir(parents=True)
    with (folder / "server.log").open("wb") as log:
        log.truncate(64 << 30)
        log.seek(0, os.SEEK_END)
        log.write(b"\nlast but one\nlast\n")
    assert call("logs", "chat-8b", "1", "-n", "2").out == "last but one\nlast\n"
    assert call("logs", "chat-8b", "1", "-n", "1000", "--json").data["lines"] == ["last but one", "last"]
    assert "last but one" in call("show", "chat-8b", "1").out


def test_logs(call: Call, store_study: StoreStudy) -> None:
    store_study("winner")
    log = trial_folder("chat-8b", 3) / "server.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\ntwo\nthr\xffee\n")
    done = call("logs", "chat-8b", "3", "-n", "2")
    assert (done.code, done.out) == (0, "two\nthr\ufffdee\n")
    assert done.err.strip() == str(log)
    assert call("logs", "chat-8b", "3", "--json").data == {
        "study": "chat-8b",
        "trial": 3,
        "path": str(log),
        "lines": ["one", "two", "thr\ufffdee"],
    }


@pytest.mark.parametrize(("words", "code", "says"), [(("99",), 2, "trials 0 to 19"), (("4",), 1, "no server log")])
def test_missing_logs(call: Call, store_study: StoreStudy, words: tuple[str, ...], code: int, says: str) -> None:
    store_study("winner")
    done = call("logs", "chat-8b", *words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    failed = call("logs", "chat-8b", *words, "--json")
    error = failed.data["error"]
    assert says in (error["remedy"] or error["message"])


def test_stop_requests_only_a_running_study_to_stop(call: Call, store_study: StoreStudy) -> None:
    store_study("winner")
    assert call("stop", "chat-8b", "--json").data == {"study": "chat-8b", "running": False}
    store_study("empty", owner=this_owner())
    assert call("stop", "chat-new", "--json").data == {"study": "chat-new", "running": True}
    with Store.open() as store:
        assert store.studies.stop_requested("chat-new")
        assert not store.studies.stop_requested("chat-8b")


def test_running_study_cannot_be_deleted(call: Call, store_study: StoreStudy) -> None:
    store_study("empty", owner=this_owner())
    done = call("delete", "chat-new", "--yes", "--json")
    assert (done.code, done.data["error"]["kind"]) == (1, "failed")
    assert "autotuner stop chat-new" in done.err
    assert call("show", "chat-new").code == 0


def test_delete_removes_study_and_files(call: Call, store_study: StoreStudy) -> None:
    store_study("winner")
    folder = trial_folder("chat-8b", 0)
    folder.mkdir(parents=True)
    done = call("delete", "chat-8b")
    assert (done.code, "add --yes" in done.err) == (2, True), "there is no terminal to ask for confirmation"
    assert folder.exists()
    assert call("delete", "chat-8b", "--yes", "--json").data == {"deleted": "chat-8b"}
    assert not study_folder("chat-8b").exists()
    assert call("show", "chat-8b").code == 2


def test_reap_cleans_up_after_dead_runs(call: Call, store_study: StoreStudy) -> None:
    owner = dead_owner()
    store_study("empty", owner=owner)
    with Store.open() as store:
        assert store.leases.take(["port:1"], owner_id=owner.id, study="chat-new", trial=0, now=1.0, dead=())
    assert call("reap", "--study", "another", "--json").data == {"removed": []}
    with Store.open() as store:
        assert len(store.leases.all()) == 1, "another study's server may still hold it"
    assert "chat-new trial 0" in call("reap").out
    with Store.open() as store:
        assert store.leases.all() == []
        assert [t.state for t in store.trials.all("chat-new")] == [TrialState.VOID]
    assert call("reap", "--json").data == {"removed": []}


def test_reap_shows_what_it_would_remove(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))  # no test may reach a cluster of the machine's user
    mine = this_owner()
    gone = dead_owner()
    with Store.open() as store:
        store.owners.register(mine)
        store.owners.register(gone)
    study = f"dry-{mine.id}"
    with ExitStack() as running:
        for trial, owner in enumerate((mine, gone)):
            env = {**os.environ, **Labels(study=study, trial=trial, owner=owner.id).env()}
            process = running.enter_context(Popen(["sleep", "60"], env=env, start_new_session=True))
            running.callback(process.kill)
        done = call("reap", "--study", study, "--dry-run")
        rows = [line.split() for line in done.out.splitlines() if study in line]
        assert [(row[0], row[3], " ".join(row[5:])) for row in rows] == [
            ("process", "0", "in use"),
            ("process", "1", "left behind"),
        ]
        assert "to remove what is left behind: autotuner reap" in done.out
        assert call("reap", "--study", study, "--dry-run", "--json").data["objects"][1]["state"] == "left_behind"
        assert process.poll() is None
        assert len(call("reap", "--study", study, "--json").data["removed"]) == 1
        assert process.wait(10) != 0
        assert "left behind" not in call("reap", "--study", study, "--dry-run").out


def test_reap_spares_running_studies(call: Call, store_study: StoreStudy) -> None:
    store_study("empty", owner=this_owner())
    assert call("reap", "--json").data == {"removed": []}
    with Store.open() as store:
        assert [t.state for t in store.trials.all("chat-new")] == [TrialState.RUNNING]


def test_watch_of_an_ended_study_prints_its_events(call: Call, store_study: StoreStudy) -> None:
    sample = store_study("winner")
    done = call("watch", "chat-8b", "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert [e["seq"] for e in events] == sorted({e["seq"] for e in events})
    assert [e["kind"] for e in events].count("trial_finished") == len(sample.trials)
    assert (events[0]["kind"], events[-1]["kind"]) == ("study_started", "study_finished")
    words = call("watch", "chat-8b")
    assert words.out == ""
    assert "trial 3  done" in words.err
    assert words.err.splitlines()[-1].startswith("chat-8b: done")


def test_watch_of_a_killed_run_ends(call: Call, store_study: StoreStudy) -> None:
    store_study("empty", owner=dead_owner())
    assert call("watch", "chat-new", "--json").code == 0
    assert "chat-new: cut off" in call("watch", "chat-new").err


def test_study_can_be_named_by_its_file(call: Call, store_study: StoreStudy, tmp_path: Path) -> None:
    store_study("winner")
    file = tmp_path / "any.yaml"
    workload = "{scenarios: 'D(8,8)', concurrency: 1}"
    file.write_text(f"name: chat-8b\nmodel: m\nengine: vllm\nworkload: {workload}\nobjective: max output_throughput\n")
    for words in (("watch",), ("show",), ("best",), ("report",), ("stop",)):
        assert call(*words, str(file), "--json").code == 0, words


def test_watch_follows_a_run_until_it_ends(call: Call, store_study: StoreStudy) -> None:
    owner = this_owner()
    store_study("empty", owner=owner)

    def go_on() -> None:
        with Store.open() as store:
            for number in range(3):
                time.sleep(0.3)
                store.events.append("chat-new", "notice", {"text": f"still here {number}"}, at=9.0)
            store.studies.release("chat-new", owner.id)

    runner = threading.Thread(target=go_on)
    runner.start()
    done = call("watch", "chat-new", "--json")
    runner.join()
    texts = [json.loads(line)["data"].get("text") for line in done.out.splitlines()]
    assert texts[-3:] == ["still here 0", "still here 1", "still here 2"]


def test_report_and_exports(call: Call, store_study: StoreStudy, tmp_path: Path) -> None:
    store_study("winner")
    path = Path(call("report", "chat-8b", "--json").data["report"])
    assert path.read_text().startswith("<!doctype html>")
    assert call("report", "chat-8b", "--format", "md").out == f"{path.with_suffix('.md')}\n"
    assert call("report", "chat-8b", "--format", "md", "-o", "-").out.startswith("# Tuning report: chat-8b (done)\n")
    assert call("report", "chat-8b", "--format", "json", "-o", "-").data["spec"]["name"] == "chat-8b"
    out = tmp_path / "r" / "x.html"
    assert call("report", "chat-8b", "-o", str(out)).out == f"{out}\n"
    assert call("export", "chat-8b").data["spec"]["name"] == "chat-8b"
    assert call("export", "chat-8b", "--as", "csv").out.startswith("trial,role,")
    assert call("export", "chat-8b", "--as", "csv", "--json").data["csv"].startswith("trial,role,")
    assert call("export", "chat-8b", "--as", "older", "--json").data["best_result"]["experiment_id"] == 13
    file = tmp_path / "all.csv"
    assert call("export", "chat-8b", "--as", "csv", "-o", str(file), "--json").data["export"] == str(file)
    assert file.read_text().startswith("trial,role,")


def test_a_checkout_without_the_web_ui_says_what_to_do(
    call: Call, store_study: StoreStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "PAGE", Path("/missing/report.html"))
    store_study("winner")
    done = call("report", "chat-8b")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("\n") == 1
    assert "make ui" in done.err
    assert "--format md" in done.err
    assert written_report(autotuner.open(), autotuner.load_result("chat-8b")) is None, "a run ends all the same"
    assert capsys.readouterr().err.startswith("note: the HTML report")


def test_a_file_that_cannot_be_written_is_one_line(call: Call, store_study: StoreStudy, tmp_path: Path) -> None:
    store_study("winner")
    (tmp_path / "file").write_text("")
    done = call("report", "chat-8b", "-o", str(tmp_path / "file" / "x.html"), "--json")
    assert done.code == 1
    assert done.data["error"]["message"].startswith("cannot write ")


@pytest.mark.parametrize(
    "words",
    [
        ("show", "none"), ("best", "none"), ("logs", "none"), ("watch", "none"), ("stop", "none"), ("delete", "none"),
        ("report", "none"), ("export", "none"), ("run", "none.yaml"), ("plan", "none.yaml"), ("params", "none"),
        ("bench", "ftp://x"), ("show",), ("show", "x", "--color"), ("logs", "x", "three"), ("frobnicate",),
        ("export", "x", "--as", "x"), ("bench", "http://127.0.0.1:9", "-c", "0"),
    ],
)  # fmt: skip
def test_errors_are_json_on_standard_output_and_a_line_on_standard_error(call: Call, words: tuple[str, ...]) -> None:
    done = call(*words, "--json")
    assert done.code == 2
    assert done.data["error"]["kind"] == "usage"
    assert done.data["error"]["message"]
    assert done.err.startswith("autotuner: ")
    plain = call(*words)
    assert (plain.code, plain.out) == (2, "")


def test_a_defect_is_json_too(call: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("autotuner.api.client.Autotuner.overviews", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["autotuner", "list", "--json"])
    with pytest.raises(ZeroDivisionError):
        main()
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "defect"


def test_a_misspelt_study_is_found(call: Call, store_study: StoreStudy) -> None:
    store_study("winner")
    assert 'did you mean "chat-8b"?' in call("show", "chat8b").err


def test_advice_can_be_typed_as_it_stands(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "next: autotuner plan s.yaml" in call("init", "s.yaml").out


STUDY = """
model: {model}
engine: {{kind: llama_cpp, server: {server}}}
deploy: process
parameters: {{threads: [1, 2]}}
workload: {{scenarios: "D(8,8)", concurrency: 1}}
objective: max output_throughput
"""


def test_plan_compares_the_file_with_the_stored_study(call: Call, tmp_path: Path) -> None:
    """Rejected under the name of another file; new under a name of its own, or once the old results were renamed."""
    server = tmp_path / "server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    files = [tmp_path / "one" / "llama" / "study.yaml", tmp_path / "two" / "llama" / "study.yaml"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(STUDY.format(model=server, server=server))
    spec = autotuner.read_study(files[0]).spec
    with Store.open() as store:
        store.studies.create(spec, source=str(files[0]), digest=spec.digest, now=1.0)
    (study_folder("llama-study") / "trials").mkdir(parents=True)
    assert "study: resumes with 0 stored results" in call("plan", str(files[0])).out
    refused = call("plan", str(files[1]))
    assert (refused.code, refused.out) == (2, "")
    assert f"came from another file, {files[0]}" in refused.err
    assert "study: new" in call("plan", str(files[1]), "--name", "mine").out
    assert call("plan", str(files[1]), "--name", "not mine").code == 2
    dated = autotuner.open().start_over("llama-study")
    assert dated.startswith("llama-study-20")
    assert (study_folder(dated) / "trials").exists()
    assert "study: new" in call("plan", str(files[1])).out
    assert autotuner.open().start_over("llama-study") == "", "nothing is stored under this name"
