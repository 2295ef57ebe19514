"""The command line's promises: quick help, one line per fault, documented exit codes, data on standard output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import autotuner

GOOD = {
    "name": "s",
    "model": "m.gguf",
    "engine": "llama_cpp",
    "parameters": {"threads": [1, 2], "parallel": [1, 2]},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}
COMMANDS = (
    "run", "plan", "show", "list", "watch", "logs", "best", "report", "export", "bench", "schema", "params", "init",
    "stop", "reap", "version",
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


def cli(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "autotuner", *args], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['autotuner', '--help']\nfrom autotuner.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'sqlalchemy', 'alembic', 'numpy', 'optuna', 'anyio', 'httpx', 'rich', 'ruamel'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    words = done.stdout.split()
    assert all(command in words for command in COMMANDS)


def test_version() -> None:
    assert cli("version").stdout.strip() == autotuner.__version__
    assert json.loads(cli("version", "--json").stdout) == {"version": autotuner.__version__}


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"parametrs": {}}, "parametrs", 'did you mean "parameters"'),
        ({"parameters": {"thread": [1]}}, "parameters.thread", 'did you mean "threads"'),
        ({"parameters": {"threads": [1, "two"]}}, "parameters.threads[1]", "two"),
        ({"engine": "lama_cpp"}, "engine.kind", 'did you mean "llama_cpp"'),
        ({"engine": {"kind": "llama_cpp", "args": {"parallel": 4}}}, "parallel", ""),
        ({"objective": "max ttft"}, "objective", "statistic"),
        ({"slo": "p99 ttft <= 200"}, "slo", "unit"),
        ({"constraints": ["threads <= cores"]}, "constraints[0]", "cores"),
        ({"constraints": ["threads <="]}, "constraints[0]", ""),
        ({"constraints": ["threads > 100"]}, "parameters", "none of the 4"),
        ({"workload": {"scenarios": "D(8)", "concurrency": 1}}, "workload.scenarios", "D(8)"),
        ({"deploy": {"kind": "process", "prots": 1}}, "prots", "unknown key"),
        ({"search": {"strategy": "bayesian", "tirals": 5}}, "tirals", "trials"),
    ],
)
def test_bad_input_is_one_line_with_place_and_remedy(
    tmp_path: Path, home: Path, change: dict[str, object], where: str, words: str
) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps({**GOOD, **change}))
    for command in ("run", "plan"):
        done = cli(command, str(file), code=2)
        lines = [line for line in done.stderr.splitlines() if where in line and words in line]
        assert len(lines) == 1, done.stderr
        assert done.stdout == ""
    assert not home.exists(), "nothing is stored for a file that is refused"
    error = json.loads(cli("plan", str(file), "--json", code=2).stdout)["error"]
    assert error["kind"] == "usage"
    assert any(where in problem["where"] for problem in error["problems"])


def test_a_missing_file_and_an_unknown_study_are_usage_errors(tmp_path: Path) -> None:
    assert "no such file" in cli("run", str(tmp_path / "none.yaml"), code=2).stderr
    assert "not in the store" in cli("show", "none", code=2).stderr
    assert "not in the store" in cli("watch", "none", code=2).stderr


def test_plan_starts_nothing_and_prints_exact_command_lines(tmp_path: Path, home: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"")
    file = tmp_path / "study.json"
    file.write_text(json.dumps({**GOOD, "constraints": ["threads * parallel <= 2"]}))
    done = subprocess.run(
        [sys.executable, "-m", "autotuner", "plan", str(file), "--json"], capture_output=True, text=True
    )
    planned = json.loads(done.stdout)
    assert (planned["space_size"], planned["launchable"]) == (4, 3)
    tuned = [launch["argv"] for launch in planned["launches"] if launch["configuration"]["values"]]
    assert all("--threads" in argv and "--parallel" in argv for argv in tuned)
    assert not (home / "studies").exists()


def test_a_starter_file_is_valid_and_never_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    (tmp_path / "model.gguf").write_bytes(b"")
    cli("init", str(file))
    assert json.loads(cli("plan", str(file), "--json", code=cli_code(file)).stdout)["study"] == "study"
    assert "exists" in cli("init", str(file), code=2).stderr


def cli_code(file: Path) -> int:
    """An empty model file may fail the preflight; what matters here is that the file is understood."""
    done = subprocess.run([sys.executable, "-m", "autotuner", "plan", str(file)], capture_output=True)
    assert done.returncode in {0, 4}
    return done.returncode


def test_schema_and_params_are_data() -> None:
    schema = json.loads(cli("schema").stdout)
    assert schema["properties"]["parameters"]
    catalog = json.loads(cli("params", "llama_cpp", "--json").stdout)["parameters"]
    assert {"threads", "parallel", "ubatch-size"} <= {entry["name"] for entry in catalog}
    assert all(entry["meaning"] for entry in catalog)
    assert "threads" in cli("params", "llama_cpp").stdout
    assert "did you mean" in cli("params", "lama", code=2).stderr


def test_an_unreachable_store_is_an_environment_error_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://someone:hunter2@127.0.0.1:1/none"
    done = cli("list", "--store", url, code=4)
    assert "hunter2" not in done.stderr + done.stdout


def test_nothing_to_reap_is_said() -> None:
    assert "nothing" in cli("reap").stdout
    assert json.loads(cli("reap", "--json").stdout) == {"removed": []}
