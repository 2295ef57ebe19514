"""Secrets planted in every text field of a study leak nowhere: not into a file, an output, an error, an event, a report
or the command line of a child. The server itself gets the real values."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autotuner.cli.main import main
from autotuner.secrets import known
from autotuner.store import Store
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload

MARK = "PLANTED"
"""Part of every planted value; nothing else contains it."""
ENVIRONMENT = {
    name: f"{number:02d}{MARK}value"
    for number, name in enumerate(
        ["HF_TOKEN", "OPENAI_API_KEY", "DB_PASS", "MYSQL_PWD", "GITHUB_PAT", "API_TOKENS", "API_KEYS", "APP_SECRETS",
         "REDIS_AUTH", "PROXY_AUTHORIZATION", "SESSION_COOKIE", "MY_BEARER", "SSH_PASSPHRASE", "MY_CREDENTIAL",
         "MY_CREDENTIALS", "awsSecretAccessKey", "hfToken", "PGPASSWORD", "AZURE_SAS", "CLIENT_SECRET"]
    )
}  # fmt: skip
BY_FORM = {
    "PLAIN_A": f"hf_1{MARK}abcdefgh", "PLAIN_B": f"sk-1{MARK}abcdefgh", "PLAIN_C": f"ghp_1{MARK}abcdefgh",
    "PLAIN_D": f"xoxb-1{MARK}-abcdefgh", "PLAIN_E": f"AKIA1{MARK}ABCDEFGH", "PLAIN_F": f"eyJ1{MARK}.abcdefgh.x",
    "PLAIN_G": f"Bearer 1{MARK}abcdefgh", "DATABASE_URL": f"postgresql://me:1{MARK}pw@db/x",
    "HOOK": f"https://example.com/hook?a=1&token=1{MARK}q",
    "PEM": f"-----BEGIN PRIVATE KEY-----\n1{MARK}\n-----END PRIVATE KEY-----",
}  # fmt: skip
SERVER = """#!{python}
import json, os, sys
from pathlib import Path
args = sys.argv
if "--version" in args or "--help" in args:
    raise SystemExit(0)
Path({seen!r}).write_text(json.dumps(dict(os.environ)))
for name, value in os.environ.items():
    if {mark!r} in value:
        print("the server repeats", value, file=sys.stderr)
        print("config:", {{name: value}}, file=sys.stderr)
host, port = args[args.index("--host") + 1], args[args.index("--port") + 1]
os.execv({python!r}, [{python!r}, "-m", "autotuner.testing.fake_server", "--host", host, "--port", port])
"""

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def children() -> Iterator[set[str]]:
    """Command lines of all child processes, sampled continuously."""
    seen = set[str]()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            for child in psutil.Process().children(recursive=True):
                try:
                    seen.add("\0".join(child.cmdline()))
                except psutil.Error:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    yield seen
    ended.set()
    thread.join()


@pytest.fixture
def study(tmp_path: Path, name: str) -> dict[str, Any]:
    server = tmp_path / "llama-server"
    (tmp_path / "m.gguf").touch()
    server.write_text(SERVER.format(python=sys.executable, seen=str(tmp_path / "seen.json"), mark=MARK))
    server.chmod(0o755)
    body = {
        "headers": {"Authorization": f"Bearer h1{MARK}"},
        "user_key": {"api-key": f"b1{MARK}"},
        "cookie": f"c1{MARK}",
    }
    return {
        "name": name,
        "model": str(tmp_path / "m.gguf"),
        "engine": {"kind": "llama_cpp", "server": str(server), "env": {**ENVIRONMENT, **BY_FORM, "SHOWN": "kept"}},
        "workload": calm_workload("D(8,2)", concurrency=[1], extra_body=body),
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "confirm": {"repeats": 0},
    }


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command as if in a new process, and returns all of its output."""

    def run(*words: str) -> str:
        monkeypatch.setattr(known, "_remembered", frozenset())
        monkeypatch.setattr(sys, "argv", ["autotuner", *words])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        with pytest.raises(SystemExit):
            main()
        output = capfd.readouterr()
        return output.out + output.err

    return run


def planted(text: str) -> list[str]:
    """Returns the lines that contain a planted value."""
    return [line[:300] for line in text.splitlines() if MARK in line]


def test_planted_secrets_leak_nowhere(
    study: dict[str, Any], name: str, tmp_path: Path, home: Path, call: Callable[..., str], children: set[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(study))
    log = tmp_path / "run.log"
    for words in (
        ["plan", str(file)],
        ["plan", str(file), "--json"],
        ["run", str(file), "-vv", "--log-file", str(log)],
        ["run", str(file), "--json"],
    ):
        assert planted(call(*words)) == [], words
    assert planted(log.read_text()) == []
    assert "autotuner.deployers.local.owned_process" in log.read_text()
    got = json.loads((tmp_path / "seen.json").read_text())
    assert {n: v for n, v in got.items() if MARK in v} == {**ENVIRONMENT, **BY_FORM}
    for words in (
        ["show", name],
        ["show", name, "--json"],
        ["list", "--json"],
        ["logs", name, "-n", "1000"],
        ["watch", name, "--json"],
        ["best", name],
        ["best", name, "--json"],
        ["best", name, "--as", "json"],
        ["best", name, "--as", "compose"],
        ["best", name, "--as", "kubernetes", "--image", "x"],
        ["export", name],
        ["export", name, "--as", "older"],
        ["export", name, "--as", "csv"],
        ["report", name, "-o", str(tmp_path / "report.html")],
        ["delete", "none"],
    ):
        output = call(*words)
        assert planted(output) == [], words
        if words[0] == "logs":
            assert "the server repeats" in output
    files = [path for path in [*home.rglob("*"), tmp_path / "report.html"] if path.is_file()]
    assert {"autotuner.db", "server.log", "report.html"} <= {path.name for path in files}
    assert [str(path) for path in files if MARK.encode() in path.read_bytes()] == []
    assert b"kept" in (home / "autotuner.db").read_bytes() + b"".join(f.read_bytes() for f in home.glob("*.db-wal"))
    assert any("fake_server" in line for line in children)
    assert [line for line in children if MARK in line] == []
    with Store.open() as store:
        assert planted(" ".join(e.model_dump_json() for e in store.events.read(name))) == []
    modes = {str(path.relative_to(home)): oct(path.stat().st_mode & 0o777) for path in [home, *home.rglob("*")]}
    assert {mode for path, mode in modes.items() if (home / path).is_dir()} == {"0o700"}, modes
    assert {mode for path, mode in modes.items() if (home / path).is_file()} == {"0o600"}, modes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model",), f"https://me:1{MARK}pw@example.com/m.gguf"),
        (("model",), {"path": "m", "name": f"hf_1{MARK}abcdef"}),
        (("engine", "args"), {"alias": f"sk-1{MARK}abcdef"}), (("engine", "args"), {"api-key": f"1{MARK}"}),
        (("parameters",), {"alias": ["x", f"ghp_1{MARK}abcdef"]}), (("parameters",), {"api-key": [f"1{MARK}", "b"]}),
        (("engine", "env"), {"MY_PASS": [f"1{MARK}"]}), (("engine", "password"), f"1{MARK}"),
        (("deploy",), {"kind": "process", "hfToken": f"1{MARK}"}),
        (("benchmark",), {"kind": "native", "api_key": f"1{MARK}"}), (("workload", "password"), f"1{MARK}"),
        (("name",), f"ghp_1{MARK}/abcdef"), (("objective",), f"max https://u:1{MARK}@h/"), (("token",), f"1{MARK}"),
    ],
)  # fmt: skip
def test_rejection_does_not_repeat_a_planted_secret(
    path: tuple[str, ...], value: object, study: dict[str, Any], tmp_path: Path, home: Path, call: Callable[..., str]
) -> None:
    """A secret that would end up on a command line is rejected without repeating it, and nothing is launched."""
    place = study
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(study))
    output = call("run", str(file), "--json")
    assert planted(output) == []
    assert path[-1] in output
    assert '{"error": {"kind": "usage"' in output
    assert not (tmp_path / "seen.json").exists()
    assert [str(p) for p in home.rglob("*") if p.is_file() and MARK.encode() in p.read_bytes()] == []
