"""Commands on the studies of a server: they print what they print where the studies are stored."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.cli.exit_codes import ExitCode
from autotuner.cli.server.where import COMMANDS
from autotuner.store.paths import trial_folder
from autotuner.testing.samples import SampleKind
from support.stored_samples import store_sample
from support.web.api_server import served
from support.web.capacity_study import store_capacity_study
from support.web.receiver import receiving

Call = Callable[..., Any]


@pytest.fixture
def server(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of this home's studies, whose address and token other homes may use."""
    store_sample("winner")
    folder = home / "studies" / "chat-8b" / "trials" / "0019"
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("first line\nlast line\n")
    token = autotuner.open().access().create("a script", "write").secret
    with served(autotuner.open(f"sqlite:///{home}/autotuner.db")) as url:
        monkeypatch.setenv("AUTOTUNER_TOKEN", token)
        yield url


@pytest.mark.parametrize(
    "words",
    [
        "list", "list --json", "show chat-8b", "show chat-8b --json", "show chat-8b 12", "show chat-8b 12 --json",
        "best chat-8b", "best chat-8b --as json", "best chat-8b --as compose --image registry.example/llama:1",
        "export chat-8b", "export chat-8b --as csv", "export chat-8b --as older", "queue", "queue --json", "workers",
        "watch chat-8b --json", "stop chat-8b", "show missing", "show chat-8b 99", "delete chat-8b",
        "delete missing --yes",
    ],
)  # fmt: skip
def test_a_command_prints_the_same(words: str, server: str, call: Call) -> None:
    expected = call(*words.split())
    done = call("--server", server, *words.split())
    assert (done.code, done.out) == (expected.code, expected.out)


PRESET = "# of the team\nengine: vllm\nmodel: Qwen/Qwen3-8B\n"


@pytest.mark.parametrize(
    "words",
    [
        "list", "list --json", "show chat", "show chat --json", "show chat-8 --json", "show ../studies",
        "show chat -o -", "remove chat-8", "remove ../chat --json", "save new {file}", "save ../new {file} --json",
        "save new {wrong}", "save new {long}", "save new {long} --json", "save new missing.yaml",
    ],
)  # fmt: skip
def test_a_command_for_presets_prints_the_same(words: str, server: str, call: Call, tmp_path: Path) -> None:
    texts = {"file": PRESET, "wrong": "[]", "long": f"engine: {'x' * 70_000}"}
    files = {name: str(tmp_path / f"{name}.yaml") for name in texts}
    for name, path in files.items():
        Path(path).write_text(texts[name])
    autotuner.open().presets().save("chat", PRESET, by="the team")
    given = ["preset", *(word.format(**files) for word in words.split())]
    expected = call(*given)
    assert call("--server", server, *given) == expected


def test_a_preset_is_saved_shown_and_removed_on_the_server(server: str, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(PRESET)
    saved = call("--server", server, "preset", "save", "chat", str(file), "--json").data
    assert (saved["engine"], saved["updated_by"]) == ("vllm", "token a script")
    assert autotuner.open().presets().text("chat") == PRESET
    new = tmp_path / "new.yaml"
    written = call("--server", server, "preset", "show", "chat", "--out", str(new))
    assert written.out == f"{new}\nnext: autotuner --server {server} plan {new}\n"
    assert new.read_text() == PRESET
    assert call("--server", server, "preset", "remove", "chat").out == "chat: removed\n"
    assert autotuner.open().presets().list() == []


@pytest.fixture
def admin(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The server for an administrator; its site file allows webhooks on this machine."""
    monkeypatch.setenv("AUTOTUNER_TOKEN", autotuner.open().access().create("operator", "admin").secret)
    site = tmp_path / "site.yaml"
    site.write_text("allow: {webhooks: [127.0.0.1]}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    return server


@pytest.mark.parametrize(
    "words",
    [
        "list", "list --json", "remove unknown", "remove ../x", "remove unknown --json", "test unknown",
        "add ops http://10.0.0.1", "add ops ftp://ops.example.com --json", "add /ops https://ops.example.com",
        "add ops https://ops.example.com --url-env OPS", "add ops --secret-file relative --url-env OPS --json",
    ],
)  # fmt: skip
def test_a_command_for_webhooks_prints_the_same(words: str, admin: str, call: Call) -> None:
    for name in ("ops", "chat"):
        autotuner.open().webhooks().add(name, "https://ops.example.com/hooks/autotuner", events=["study.failed"])
    expected = call("webhook", *words.split())
    assert call("--server", admin, "webhook", *words.split()) == expected


def test_a_webhook_is_added_tested_and_removed_on_the_server(admin: str, call: Call) -> None:
    with receiving() as receiver:
        made = call("--server", admin, "webhook", "add", "ops", f"{receiver.url}/hooks/of-the-team", "--form", "slack")
        assert (made.code, made.out[:6], made.out.count("\n")) == (0, "whsec_", 1)
        (found,) = autotuner.open().webhooks().list()
        assert (found.webhook.name, found.webhook.form) == ("ops", "slack")
        receiver.statuses = [200, 503]
        assert call("--server", admin, "webhook", "test", found.webhook.id, "--json").data["delivered"] is True
        failed = call("--server", admin, "webhook", "test", found.webhook.id)
        assert (failed.code, failed.out, "status 503" in failed.err) == (1, "", True)
    assert receiver.requests[0].path == "/hooks/of-the-team"
    removed = call("--server", admin, "webhook", "remove", found.webhook.id, "--json")
    assert removed.data == {"removed": found.webhook.id}
    assert autotuner.open().webhooks().list() == []


def test_only_administrators_have_webhooks(server: str, call: Call) -> None:
    done = call("--server", server, "webhook", "list")
    assert (done.code, done.out) == (ExitCode.ENVIRONMENT, "")
    assert 'needs a token with the scope "admin"' in done.err


@pytest.mark.parametrize("kind", list(SampleKind))
def test_a_result_is_derived_from_the_same_records(kind: SampleKind, home: Path, call: Call, tmp_path: Path) -> None:
    name = store_sample(kind).spec.name
    expected = call("show", name, "--json")
    secret = autotuner.open().access().create("a script").secret
    with served(autotuner.open(f"sqlite:///{home}/autotuner.db")) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNER_TOKEN", secret)
        patch.setenv("AUTOTUNER_SERVER", url)
        patch.setenv("AUTOTUNER_STORE", f"sqlite:///{tmp_path}/another.db")
        assert call("show", name, "--json") == expected


def test_a_log(server: str, call: Call) -> None:
    done = call("--server", server, "logs", "chat-8b", "--lines", "1")
    assert (done.code, done.out) == (0, "last line\n")
    none = call("--server", server, "logs", "chat-8b", "0")
    assert (none.code, none.err.count("\n")) == (1, 1)


@pytest.mark.parametrize("form", ["md", "json"])
def test_a_report(form: str, server: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("--server", server, "report", "chat-8b", "--format", form).out == f"chat-8b.{form}\n"
    expected = call("report", "chat-8b", "--format", form, "--out", "-").out
    assert (tmp_path / f"chat-8b.{form}").read_text() == expected


def test_a_deleted_study_is_gone_on_the_server(server: str, call: Call) -> None:
    assert call("--server", server, "delete", "chat-8b", "--yes").out == "chat-8b: deleted\n"
    assert call("list", "--json").data == {"studies": []}


def test_a_verification_is_the_same(server: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store_capacity_study()
    (changed, *_) = trial_folder("chat-capacity", 1).glob("records-0-0-*.parquet")
    with changed.open("ab") as file:
        file.write(b" ")
    expected = call("verify", "chat-capacity")
    assert [
        part for part in ("trial 0 ", "trial 2 ", "was changed after the measurement") if part not in expected.out
    ] == []
    assert call("--server", server, "verify", "chat-capacity") == expected
    for words in (("chat-8b",), ("chat-8b", "--json"), ("missing",), ("../chat-8b", "--json"), (".",)):
        assert call("--server", server, "verify", *words) == call("verify", *words)


def test_a_folder_is_verified_where_the_command_runs(server: str, call: Call, home: Path) -> None:
    folder = home / "measured"
    folder.mkdir()
    report = autotuner.CapacityReport(url="http://x", slos=("p99 ttft <= 1s",))
    (folder / "capacity.json").write_text(report.model_dump_json())
    done = call("--server", server, "verify", str(folder), "--json")
    assert done == call("verify", str(folder), "--json")
    assert done.data["holds"] is False


CHECKED = """\
{name: checked, model: Qwen/Qwen3-8B, engine: {kind: simulated, gpu: H100}, parameters: {max-running-requests: [1, 2]},
 workload: {scenarios: "D(8,8)", concurrency: 1}, objective: max output_throughput}
"""


@pytest.mark.parametrize(
    "words",
    [
        "doctor", "doctor --json", "doctor {file}", "doctor {file} --json", "doctor --mode dokcer --json",
        "doctor --set stop_grace=3s --json", "doctor --set stop_grace=soon", "doctor --set wrong",
        "doctor --set engines[1].deploy.ports=1", "doctor {file} --set stop_grace=soon --json",
        "doctor {file} --set engines[1].deploy.ports=1", "doctor {file} --mode docker --json",
    ],
)  # fmt: skip
def test_the_checks_of_doctor_are_the_same(words: str, server: str, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(CHECKED)
    expected = call(*words.format(file=file).split())
    done = call("--server", server, *words.format(file=file).split())
    # Free ports and space change while other programs run.
    assert (done.code, re.sub(r"[\d.]+", "#", done.out)) == (expected.code, re.sub(r"[\d.]+", "#", expected.out))


def test_doctor_says_whose_machine_it_checked(server: str, call: Call, tmp_path: Path) -> None:
    done = call("--server", server, "doctor")
    assert done.err == f"note: checked on {socket.gethostname()}, the machine of {server}\n"
    assert call("doctor").err == ""
    assert call("--server", server, "doctor", "--json").data["host"] == socket.gethostname()
    file = tmp_path / "study.yaml"
    file.write_text(CHECKED.replace("Qwen/Qwen3-8B", "/etc/hostname"))
    refused = call("--server", server, "doctor", str(file))
    assert (refused.code, refused.out, "outside of the folders" in refused.err) == (ExitCode.USAGE, "", True)


def test_what_runs_launched_on_the_servers_machine(
    server: str, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))  # no test may reach a cluster of the machine's user
    assert call("--server", server, "reap", "--dry-run", "--study", "none-such", "--json").data == {
        "objects": [],
        "unreachable": [],
    }
    refused = call("--server", server, "reap")
    assert (refused.code, "add --dry-run" in refused.err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("words", ["token list", "backup x.tar.gz", "worker"])
def test_other_commands_work_on_this_machine_only(words: str, server: str, call: Call) -> None:
    done = call("--server", server, *words.split())
    assert done.code == ExitCode.USAGE
    assert f"{words.split()[0]} works on this machine only" in done.err
    assert all(command in done.err for command in COMMANDS)


def test_they_ignore_the_variable(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNER_SERVER", "http://127.0.0.1:1")
    assert call("token", "list").code == 0


@pytest.mark.parametrize(
    ("server", "words", "says"),
    [
        ("http://127.0.0.1:1", "list", "cannot reach http://127.0.0.1:1"),
        ("ftp://host", "list", "is not the URL of a server"),
        ("http://user:secret@host", "list", "--server = http://host: is not the URL of a server"),
        ("http://127.0.0.1:1", "list --store sqlite:///x.db", "--store: cannot be used with --server"),
        ("http://127.0.0.1:1", "run {file} --fresh", "--fresh: cannot be used with --server"),
    ],
)
def test_a_wrong_server_is_one_line(server: str, words: str, says: str, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "{model: m, engine: {kind: simulated, gpu: H100}, parameters: {max-running-requests: [1, 2]}, "
        "workload: {scenarios: 'D(8,8)', concurrency: 1}, objective: max output_throughput}"
    )
    done = call("--server", server, *words.format(file=file).split())
    assert done.code in {ExitCode.USAGE, ExitCode.ENVIRONMENT}
    assert says in done.err
    assert done.err.count("\n") == 1
    assert "secret" not in done.err


def test_the_next_command_names_the_server(server: str, call: Call) -> None:
    assert f"autotuner --server {server} show chat-8b" in call("--server", server, "watch", "chat-8b").err


def test_a_backup_is_of_this_machine(call: Call, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone whose variable names a server may mean that one."""
    autotuner.open()
    monkeypatch.setenv("AUTOTUNER_SERVER", "http://127.0.0.1:9")
    done = call("backup", str(tmp_path / "state.tar.gz"))
    assert done.code == 0
    assert done.err.startswith("note: backup works on this machine, not on $AUTOTUNER_SERVER\n")
    assert "note:" not in call("list", "--json").err


def test_a_list_of_the_servers_machine_is_not_said_to_be_of_this_one(server: str, call: Call) -> None:
    done = call("--server", server, "reap", "--dry-run")
    assert done.code == 0
    assert "note:" not in done.err
