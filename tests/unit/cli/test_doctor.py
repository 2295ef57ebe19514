"""``autotuner doctor`` with and without a study: each problem has a remedy, and nothing is created."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from autotuner.diagnosis import Diagnosis
from autotuner.errors import AutotunerError, UsageError
from autotuner.plugins import loading
from autotuner.study.check import Check, CheckStatus
from autotuner.study_file.machine_settings import parse_settings
from autotuner.testing.samples import Sample

Call = Callable[..., Any]
STUDY = {
    "name": "s",
    "model": "m.gguf",
    "engine": "llama_cpp",
    "parameters": {"threads": [1, 2]},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}


def checks(done: Any) -> dict[str, tuple[str, str, str]]:
    return {c["name"]: (c["status"], c["detail"], c["remedy"]) for c in done.data["checks"]}


def study_file(tmp_path: Path, **changes: Any) -> str:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({**STUDY, **changes}))
    return str(path)


def test_without_a_study(call: Call, home: Path) -> None:
    done = call("doctor", "--json")
    assert done.code == 0
    assert (done.data["deploy"], done.data["study"]) == ("process", None)
    found = checks(done)
    assert {"autotuner", "site settings", "data folder", "store", "ports", "gpus"} == set(found)
    assert found["store"][1].endswith("autotuner.db, will be created by the first run")
    assert not home.exists(), "nothing is created"


def test_table(call: Call, tmp_path: Path) -> None:
    """One row per check, with a remedy beside each failure."""
    done = call("doctor", study_file(tmp_path))
    assert done.code == 4
    lines = done.out.splitlines()
    (row,) = [line for line in lines if line.startswith("fail")]
    assert row.split()[:2] == ["fail", "model"]
    assert row.endswith("correct model.path")
    assert {"1", str(len(lines) - 2)} <= set(re.findall(r"\d+", lines[-1])), "how many checks, and how many failed"
    assert "process" in call("doctor").out.splitlines()[-1]


def test_study_without_problems(call: Call, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    done = call("doctor", study_file(tmp_path), "--json")
    assert done.code == 0
    assert done.data["study"] == "s"
    assert {"data folder", "store", "program", "model", "ports"} <= set(checks(done))


def test_study_that_cannot_be_prepared(call: Call, tmp_path: Path) -> None:
    """All problems of the study are reported, and the target is checked anyway."""
    done = call("doctor", study_file(tmp_path, constraints=["no-such <= 1", "nor-this <= 1"]), "--json")
    assert done.code == 4
    faults = [c["detail"] for c in done.data["checks"] if c["name"] == "study"]
    assert [f.partition(" = ")[0] for f in faults] == ["constraints[0]", "constraints[1]"]
    assert {"data folder", "ports", "gpus"} <= set(checks(done))


def test_invalid_file_is_a_usage_error(call: Call, tmp_path: Path) -> None:
    assert call("doctor", str(tmp_path / "none.yaml")).code == 2
    assert call("doctor", study_file(tmp_path, objective="fast")).code == 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """A server that answers at the path of the model list."""
    (tmp_path / "web" / "v1").mkdir(parents=True)
    (tmp_path / "web" / "v1" / "models").write_text("{}")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web"))) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_target_from_options_and_site_settings(
    call: Call, tmp_path: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line, from the site settings, and for a study file."""
    url = f"http://127.0.0.1:{server.server_port}"
    done = call("doctor", "--mode", "external", "--set", f"url={url}", "--json")
    assert (done.code, checks(done)["server"][0]) == (0, "ok")
    site = tmp_path / "site.yaml"
    site.write_text(json.dumps({"deploy": {"external": {"url": url}}}))
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    done = call("doctor", "--mode", "external", "--json")
    assert (done.code, checks(done)["site settings"]) == (0, ("ok", str(site), ""))
    done = call("doctor", "--mode", "external", "--set", "url=http://127.0.0.1:9", "--json")
    assert (done.code, checks(done)["server"][0]) == (4, "fail"), "the command line overrides the site settings"
    done = call("doctor", study_file(tmp_path), "--set", "ports=[4000, 4001]", "--json")
    assert "in 4000-4001" in checks(done)["ports"][1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--mode", "proces"], 'deploy.kind = proces: unknown kind; did you mean "process"?'),
        (["--set", "portz=1"], "deploy.portz: unknown key"),
        (["--set", "ports"], "--set = ports: is not a setting; write KEY=VALUE"),
        (["--set", "kind=docker"], "--set = kind=docker: is not a setting; write KEY=VALUE"),
        (["--mode", "external"], "deploy.url: missing; this key is required"),
    ],
)
def test_invalid_settings(call: Call, words: list[str], found: str) -> None:
    done = call("doctor", *words)
    assert done.code == 2
    assert f"autotuner: {found}" in done.err


def test_settings_are_parsed_as_in_a_study_file() -> None:
    found = parse_settings(["a=1", "b=on", "c={claim: x}", "d=a=b", "e=", "f=[1, 2]", "g=true"])
    assert found == {"a": 1, "b": "on", "c": {"claim": "x"}, "d": "a=b", "e": "", "f": [1, 2], "g": True}
    with pytest.raises(UsageError, match="--set a"):
        parse_settings(["a={x"])


def test_unreachable_cluster_is_one_failed_check(call: Call, tmp_path: Path) -> None:
    """Also for a study, which cannot be prepared without a cluster."""
    for words in (["--mode", "kubernetes"], [study_file(tmp_path, deploy="kubernetes")]):
        found = call("doctor", *words, "--json")
        assert found.code == 4
        assert [name for name, check in checks(found).items() if check[0] == "fail"] == ["kubernetes"]
        assert "deploy.kubeconfig" in checks(found)["kubernetes"][2]


class Absent:
    """An entry point whose module needs a package that is not installed."""

    dist = None
    module = "autotuner.deployers.docker.deployer"

    def load(self) -> type:
        raise ModuleNotFoundError("No module named 'aiodocker'", name="aiodocker")


class Unusable(Absent):
    """An entry point whose target cannot be used, for a reason that contains a semicolon."""

    def load(self) -> type:
        raise AutotunerError("no node can be used (n1: cordoned; n2: not ready)", remedy="uncordon one")


def test_missing_extra(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = loading.kinds
    absent = {"docker": Absent()}
    monkeypatch.setattr(loading, "kinds", lambda group: {**installed(group), **absent})
    for words, name in ([["--mode", "docker"], "docker"], [[study_file(tmp_path, deploy="docker")], "study"]):
        done = call("doctor", *words, "--json")
        assert done.code == 4
        assert "pip install 'llm-inference-autotuner[docker]'" in checks(done)[str(name)][2]


def test_stores(call: Call, store_study: Callable[..., Sample], tmp_path: Path) -> None:
    done = call("doctor", "--store", "mysql://me:s3cret@host/db", "--json")
    assert (done.code, checks(done)["store"][0]) == (4, "fail")
    assert "s3cret" not in done.out
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE alembic_version (version_num TEXT)")
        other.execute("INSERT INTO alembic_version VALUES ('abc')")
    other.close()
    done = call("doctor", "--store", f"sqlite:///{tmp_path / 'other.db'}", "--json")
    assert "another program's tables" in checks(done)["store"][1]
    call("list")
    assert checks(call("doctor", "--json"))["store"][1].endswith("autotuner.db, 0 studies")
    store_study("winner")
    assert checks(call("doctor", "--json"))["store"][1].endswith("autotuner.db, 1 study")


def test_status_is_the_worst_of_all_checks() -> None:
    made = [Check(name=s.value, status=s) for s in CheckStatus]
    assert Diagnosis(deploy="x", checks=tuple(made)).status is CheckStatus.FAIL
    assert Diagnosis(deploy="x", checks=tuple(made[:2])).status is CheckStatus.WARN
    assert Diagnosis(deploy="x").status is CheckStatus.OK


def test_message_with_a_semicolon_is_kept_whole(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    installed = loading.kinds
    monkeypatch.setattr(loading, "kinds", lambda group: {**installed(group), "docker": Unusable()})
    done = call("doctor", "--mode", "docker", "--json")
    assert checks(done)["docker"] == ("fail", "no node can be used (n1: cordoned; n2: not ready)", "uncordon one")


def test_settings_of_one_engine_need_a_study(call: Call) -> None:
    refused = call("doctor", "--set", "engines[1].deploy.ports=25100-25109")
    assert refused.code == 2
    assert "--set engines[1].deploy.ports: there is no study; name its file, or write ports=.." in refused.err
