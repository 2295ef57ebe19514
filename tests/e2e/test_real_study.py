"""Whole studies on the real llama.cpp server, from the study file to the answer."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.engines.llama_cpp.engine import LlamaCpp
from autotuner.study.trial import TrialRole, TrialState
from autotuner.testing.relaxed_settings import calm_workload
from autotuner.tuning.ending import Ending

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("home")]

Make = Callable[..., dict[str, Any]]
Left = Callable[[], list[str]]


def cli(*args: str, check: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "autotuner", *args], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == check, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_every_tuned_value_reaches_the_launched_process(quick_study: Make, leftovers: Left) -> None:
    result = autotuner.tune(quick_study(search={"strategy": "grid", "trials": 5, "seed": 1}))
    searched = [t for t in result.trials if t.role is TrialRole.SEARCH]
    assert len(searched) == 4
    assert all(t.state is TrialState.DONE for t in result.trials), [t.failure for t in result.trials]
    engine = LlamaCpp(LlamaCpp.Settings())
    for trial in searched:
        for name, value in trial.configuration.values.items():
            at = trial.argv.index(f"--{name}")
            assert trial.argv[at + 1] == str(value)
            assert engine.flag_value(trial.argv, name) == str(value)
        assert trial.argv[trial.argv.index("--ctx-size") + 1] == "2048"
    default = next(t for t in result.trials if t.role is TrialRole.DEFAULT)
    assert default.number == 0
    assert "--parallel" not in default.argv
    assert leftovers() == []


def test_the_command_line_from_file_to_answer(name: str, quick_study: Make, leftovers: Left, tmp_path: Path) -> None:
    file = tmp_path / "quick.json"
    file.write_text(json.dumps(quick_study()))
    ran = cli("run", str(file))
    assert "trial 0" in ran.stderr
    assert "report" in ran.stdout
    answer = json.loads(cli("best", name, "--json").stdout)
    command = cli("best", name).stdout.strip()
    words = shlex.split(command)
    for flag, value in answer["parameters"].items():
        assert words[words.index(f"--{flag}") + 1] == str(value)
    shown = json.loads(cli("show", name, "--json").stdout)
    assert [t["number"] for t in shown["trials"]] == list(range(len(shown["trials"])))
    report = Path(json.loads(cli("report", name, "--json").stdout)["report"])
    assert "<title>" in report.read_text()
    older = json.loads(cli("export", name, "--as", "older").stdout)
    assert {"best_result", "all_results"} <= set(older)
    assert cli("export", name, "--as", "csv").stdout.count("\n") >= len(shown["trials"])
    assert json.loads(cli("list", "--json").stdout)["studies"][0]["name"] == name
    assert "listening on" in cli("logs", name, "0", "--lines", "100000").stdout
    again = cli("run", str(file), "--json")
    assert len(json.loads(again.stdout)["trials"]) == len(shown["trials"]), "a finished study is not run again"
    assert leftovers() == []


def stopped(name: str, file: Path) -> int:
    """Interrupts a run while it measures, and returns its exit code."""
    process = subprocess.Popen([sys.executable, "-m", "autotuner", "run", str(file)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "trial 2" in line and "measuring" in line:  # the lines before it are of the run before
            break
    assert autotuner.stop_study(name)
    process.stderr.read()
    process.stderr.close()
    return process.wait(60)


def test_interrupt_ends_cleanly_and_the_same_command_resumes(
    name: str, quick_study: Make, leftovers: Left, tmp_path: Path
) -> None:
    file = tmp_path / "quick.json"
    lasting = calm_workload("N(24,6)/(6,2)", requests=60)  # so long that a signal comes in time
    file.write_text(json.dumps(quick_study(workload=lasting, confirm={"repeats": 0})))
    process = subprocess.Popen([sys.executable, "-m", "autotuner", "run", str(file)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "trial 1" in line and "measuring" in line:
            break
    process.send_signal(2)
    process.stderr.read()
    assert process.wait(60) == 130
    process.stderr.close()
    assert leftovers() == []
    before = autotuner.load_result(name)
    assert before.state == "interrupted"
    assert [t.number for t in before.trials if t.state.finished] == [0]
    assert (before.ending, before.gains) == (Ending.INTERRUPTED, (None,))
    assert stopped(name, file) == 1, "what was stopped has no answer"
    assert autotuner.load_result(name).ending is Ending.STOPPED
    cli("run", str(file))
    after = autotuner.load_result(name)
    assert next(t for t in after.trials if t.number == 0) == next(t for t in before.trials if t.number == 0)
    finished = [t.configuration.key for t in after.trials if t.role is not TrialRole.CONFIRM and t.state.finished]
    assert len(finished) == len(set(finished)) == 3


def test_failures_are_results_with_a_cause(quick_study: Make) -> None:
    study = quick_study(
        parameters={"cache-type-v": ["f16", "q8_0"], "flash-attn": ["off"]},
        search={"strategy": "grid", "trials": 5, "seed": 1},
        confirm={"repeats": 0},
    )
    result = autotuner.tune(study)
    tried = [t.configuration.values for t in result.trials if t.role is TrialRole.SEARCH]
    assert tried == [{"cache-type-v": "f16", "flash-attn": "off"}], "a knowably invalid configuration is never proposed"


def test_nothing_is_launched_if_the_environment_is_not_ready(name: str, quick_study: Make, tmp_path: Path) -> None:
    file = tmp_path / "quick.json"
    file.write_text(json.dumps(quick_study(model=str(tmp_path / "missing.gguf"))))
    ran = cli("run", str(file), check=4)
    assert "missing.gguf" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert json.loads(cli("show", name, "--json").stdout)["trials"] == []


def test_no_feasible_configuration_has_its_own_exit_code(name: str, quick_study: Make, tmp_path: Path) -> None:
    file = tmp_path / "quick.json"
    file.write_text(json.dumps(quick_study(slo=["p99 ttft <= 1us"])))
    ran = cli("run", str(file), check=3)
    assert "no configuration" in ran.stdout.lower() + ran.stderr.lower()
