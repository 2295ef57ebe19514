"""The command line: fast help, one line per problem, documented exit codes, JSON on stdout."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import autotuner
from autotuner.cli.capacity.commands import Unit
from autotuner.cli.load_options import ApiKind
from autotuner.cli.results import BestAs, ExportAs, SortBy
from autotuner.cli.server.commands import ScopeName
from autotuner.report import study_list
from autotuner.study.workload import Api, LoadUnit

Cli = Callable[..., Any]
GOOD = {
    "name": "s",
    "model": "m.gguf",
    "engine": "llama_cpp",
    "parameters": {"threads": [1, 2], "parallel": [1, 2]},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}
COMMANDS = (
    "run", "plan", "doctor", "watch", "stop", "reap", "submit", "queue", "worker", "workers", "list", "show", "logs",
    "best", "report", "export", "delete", "bench", "capacity", "verify", "serve", "backup", "restore",
    "schema", "params", "init", "demo",
    "version", "token", "preset", "webhook",
)  # fmt: skip


@pytest.fixture
def cli(call: Callable[..., Any]) -> Cli:
    """Runs the command and insists on its exit code."""

    def run(*args: str, code: int = 0) -> Any:
        done = call(*args)
        assert done.code == code, f"{args}: {done}"
        return done

    return run


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['autotuner', '--help']\nfrom autotuner.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'sqlalchemy', 'alembic', 'numpy', 'optuna', 'anyio', 'httpx', 'rich', 'ruamel'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert "LOADED []" in done.stdout
    _, _, listed = done.stdout.partition("\nCommands:\n")
    summaries = dict(line.split(maxsplit=1) for line in listed.partition("\n\n")[0].splitlines())
    assert tuple(summaries) == COMMANDS
    assert [command for command, summary in summaries.items() if summary.endswith("...")] == [], "cut off"


def test_choices_of_options_are_those_of_the_api() -> None:
    """They are written twice, so that the help does not have to import the API."""
    assert list(ApiKind) == list(Api)
    assert list(Unit) == list(LoadUnit)
    assert list(ScopeName) == list(autotuner.TokenScope)
    assert list(SortBy) == list(study_list.SortBy)
    assert set(BestAs) - {BestAs.COMMAND, BestAs.JSON} == set(get_args(autotuner.ManifestForm))
    assert tuple(ExportAs) == get_args(autotuner.ExportForm)


def test_version(cli: Cli) -> None:
    assert cli("version").out.strip() == autotuner.__version__
    assert cli("--version").out.strip() == autotuner.__version__
    assert json.loads(cli("version", "--json").out) == {"version": autotuner.__version__}


def completed(*words: str, **env: str) -> list[str]:
    """Returns what bash offers after these words."""
    script = "import sys\nsys.argv = ['autotuner']\nfrom autotuner.cli.main import main\nmain()"
    asked = {"_AUTOTUNER_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **asked, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.split()


def test_shell_completion() -> None:
    assert completed("autotuner", "pl") == ["plan"]
    assert completed("autotuner", "plan", "--si") == ["--simulate"]


def planned(cli: Cli, tmp_path: Path, *options: str, command: str = "plan", **changes: Any) -> Any:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({**GOOD, **changes}))
    return cli(command, str(path), "--json", *options, code=4).data


def test_set_overrides_values_of_the_file(cli: Cli, tmp_path: Path) -> None:
    options = ("--set", "name=other", "--set", "parameters.threads=[1]", "--set", "engine.args.ctx-size=64")
    plan = planned(cli, tmp_path, *options)
    assert (plan["study"], plan["space_size"]) == ("other", 2)
    assert all("--ctx-size" in launch["argv"] for launch in plan["launches"])


def test_dry_run_equals_plan(cli: Cli, tmp_path: Path) -> None:
    dry = planned(cli, tmp_path, "--dry-run", command="run")
    assert dry["launches"] == planned(cli, tmp_path)["launches"]
    assert cli("list", "--json").data == {"studies": []}


def test_simulated_plan_is_labeled(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    changes = {"engine": "vllm", "model": "Qwen/Qwen3-8B", "parameters": {"tensor-parallel-size": [1, 8]}}
    path.write_text(json.dumps({**GOOD, **changes}))
    plan = cli("plan", str(path), "--simulate", "H100x8", "--json").data
    assert (plan["study"], plan["simulated"], plan["launchable"]) == ("s-simulated-H100x8", "vllm on H100x8", 2)
    assert "simulated" in cli("plan", str(path), "--simulate", "H100x8").out
    cli("plan", str(path), "--simulate", "H100x0", code=2)


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"parametrs": {}}, "parametrs", 'did you mean "parameters"'),
        ({"parameters": {"thread": [1]}}, "parameters.thread", 'did you mean "threads"'),
        ({"parameters": {"thread": [1, 2, 3, 4, 5]}}, "parameters.thread", "1, 2, 3, 4, ...: unknown server option"),
        ({"parameters": {"threads": [1, "two"]}}, "parameters.threads[1]", "two"),
        ({"engine": "lama_cpp"}, "engine.kind", 'did you mean "llama_cpp"'),
        ({"engine": {"kind": "llama_cpp", "args": {"parallel": 4}}}, "parallel", "both tuned and fixed"),
        ({"objective": "max ttft"}, "objective", "statistic"),
        ({"slo": "p99 ttft <= 200"}, "slo", "unit"),
        ({"constraints": ["threads <= cores"]}, "constraints[0]", "cores"),
        ({"constraints": ["threads <="]}, "constraints[0]", "ends too early"),
        ({"constraints": ["threads > 100"]}, "parameters", "none of the 4"),
        ({"workload": {"scenarios": "D(8)", "concurrency": 1}}, "workload.scenarios", "D(8)"),
        ({"deploy": {"kind": "process", "prots": 1}}, "prots", "unknown key"),
        ({"search": {"strategy": "bayesian", "tirals": 5}}, "tirals", "trials"),
    ],
)
def test_bad_input_is_one_line_with_place_and_remedy(
    cli: Cli, tmp_path: Path, home: Path, change: dict[str, object], where: str, words: str
) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps({**GOOD, **change}))
    for command in ("run", "plan"):
        done = cli(command, str(file), code=2)
        lines = [line for line in done.err.splitlines() if where in line and words in line]
        assert len(lines) == 1, done.err
        assert done.out == ""
    assert not home.exists(), "nothing is stored for a rejected file"
    error = json.loads(cli("plan", str(file), "--json", code=2).out)["error"]
    assert error["kind"] == "usage"
    assert any(where in problem["where"] for problem in error["problems"])


def test_missing_file_and_unknown_study_are_usage_errors(cli: Cli, tmp_path: Path) -> None:
    assert "no such file" in cli("run", str(tmp_path / "none.yaml"), code=2).err
    assert "not in the store" in cli("show", "none", code=2).err
    assert "not in the store" in cli("watch", "none", code=2).err


def test_plan_starts_nothing_and_prints_exact_command_lines(
    call: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"")
    file = tmp_path / "study.json"
    file.write_text(json.dumps({**GOOD, "constraints": ["threads * parallel <= 2"]}))
    planned = call("plan", str(file), "--json").data
    assert (planned["space_size"], planned["launchable"]) == (4, 3)
    tuned = [launch["argv"] for launch in planned["launches"] if launch["configuration"]["values"]]
    assert all("--threads" in argv and "--parallel" in argv for argv in tuned)
    assert not (home / "studies").exists()


def test_starter_file_is_valid_and_overwrites_nothing(cli: Cli, call: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "chat" / "study.yaml"
    file.parent.mkdir()
    (file.parent / "model.gguf").write_bytes(b"")
    cli("init", str(file))
    planned = call("plan", str(file), "--json")
    assert planned.code in {0, 4}, "an empty model may fail the preflight; what matters is that the file is understood"
    assert planned.data["study"] == "chat-study", "two files called study.yaml are two studies"
    assert "exists" in cli("init", str(file), code=2).err


def test_schema_and_params_are_data(cli: Cli) -> None:
    schema = json.loads(cli("schema").out)
    assert cli("schema", "--json").data == schema
    assert schema["properties"]["parameters"]
    catalog = json.loads(cli("params", "llama_cpp", "--json").out)["parameters"]
    assert {"threads", "parallel", "ubatch-size"} <= {entry["name"] for entry in catalog}
    assert all(entry["meaning"] for entry in catalog)
    assert "threads" in cli("params", "llama_cpp").out
    assert "did you mean" in cli("params", "lama", code=2).err


def test_unreachable_store_is_an_environment_error_without_password(cli: Cli) -> None:
    url = "postgresql+psycopg://someone:hunter2@127.0.0.1:1/none"
    done = cli("list", "--store", url, code=4)
    assert "hunter2" not in done.err + done.out


def test_reap_reports_that_there_is_nothing_to_do(cli: Cli) -> None:
    assert "nothing" in cli("reap").out
    assert json.loads(cli("reap", "--json").out) == {"removed": []}
