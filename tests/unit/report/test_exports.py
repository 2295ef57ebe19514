"""Exports for other programs: the shell command, strict JSON, CSV, the older results JSON."""

import csv
import io
import json
import math
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from autotuner.report.exports import best_json, command_line, csv_text, export_text, older_results, strict_json
from autotuner.report.result import StudyResult, objective_value
from autotuner.report.views.launch_line import shell_line
from autotuner.study.trial import TrialRole, TrialState
from autotuner.testing import samples
from autotuner.testing.samples import Sample, SampleKind, StudyMaker, configuration, sample_spec, sample_study

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]

NASTY = (
    "two words",
    '{"a": [1, "x y"]}',
    "it's",
    'say "hi"',
    "$HOME `id` $(id)",
    "a\nb",
    "-x",
    "",
    "\\",
    "*",
    "ünï",
    "!",
)
ARGUMENT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))


def strict(text: str) -> Any:
    """Parses JSON and refuses what only Python reads."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"not JSON: {constant}")

    return json.loads(text, parse_constant=refuse)


@given(st.lists(ARGUMENT, min_size=1))
def test_command_survives_shell_parsing(words: list[str]) -> None:
    assert shlex.split(shell_line(words, {})) == words


def test_shell_gets_the_same_arguments_and_environment() -> None:
    env = {"PLAIN": "1", "TRICKY": "a b$HOME'\"\n", "HF_TOKEN": "***"}
    script = "import os, sys, json; print(json.dumps([sys.argv[1:], os.environ['TRICKY'], os.environ['HF_TOKEN']]))"
    line = shell_line(("python3", "-c", script, *NASTY), env)
    assert "***" not in line
    ran = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HF_TOKEN": "real"},
    )
    assert json.loads(ran.stdout) == [list(NASTY), env["TRICKY"], "real"]


def test_the_commands(sampled: Sampled, snapshot: SnapshotAssertion) -> None:
    assert {kind.value: command_line(sampled(kind.value)) for kind in SampleKind} == snapshot


def test_best_for_programs(sampled: Sampled) -> None:
    best = best_json(sampled("winner"))
    assert best["parameters"] == {"parallel": 8, "ubatch-size": 128, "flash-attn": True}
    assert shlex.split(best["command"]) == best["argv"]
    assert best["gain"]["low"] > 0
    assert best["default_is_as_good"] is False
    assert (best["ending"], best["proven"], best["refuted"]) == ("proven_better", True, [])
    none = best_json(sampled("infeasible"))
    assert (none["study"], none["winner"], none["ending"]) == ("chat-strict", None, "nothing_feasible")
    assert "command" not in none


def test_refuted_trials_are_marked_in_every_form(sampled: Sampled) -> None:
    result = sampled("refuted")
    best = best_json(result)
    assert (best["winner"], best["refuted"], best["proven"]) == (0, [2], False)
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    assert {r["trial"] for r in rows if r["answer"] == "did_not_hold_up"} == {"2", "9"}
    assert {r["ending"] for r in rows} == {"winner_did_not_hold_up"}
    assert older_results(result)["ending"] == "winner_did_not_hold_up"
    assert older_results(result)["best_result"]["parameters"] == {}


def test_json_of_nan_and_infinity() -> None:
    assert strict(strict_json({"a": math.inf, "b": [math.nan, 1.5], 3: (-math.inf,)})) == {
        "a": None,
        "b": [None, 1.5],
        "3": [None],
    }


@pytest.mark.parametrize("kind", SampleKind)
def test_json_is_strict_and_complete(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    read = strict(export_text(result, "json"))
    assert [t["number"] for t in read["trials"]] == [t.number for t in result.trials]
    assert read["spec"]["name"] == result.spec.name


def test_unknown_form_is_rejected(sampled: Sampled) -> None:
    with pytest.raises(ValueError, match="xml"):
        export_text(sampled("winner"), "xml")


@pytest.mark.parametrize("kind", SampleKind)
def test_csv_has_a_row_per_trial_and_window(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    assert len(rows) == sum(max(1, len(t.measurements)) for t in result.trials)
    for row in rows:
        trial = result.trials[int(row["trial"])]
        assert row["state"] == trial.state.value
        if not trial.measurements:
            assert row["output_throughput"] == "", "no made-up number"
    assert not {"inf", "nan", "None"} & {cell for row in rows for cell in row.values()}


def test_csv_figures_are_the_measured_ones(sampled: Sampled) -> None:
    result = sampled("winner")
    row = list(csv.DictReader(io.StringIO(csv_text(result))))[3]
    trial = result.trials[1]
    assert (row["trial"], row["level"], row["parameter:parallel"]) == ("1", "concurrency=16", "16")
    assert float(row["ttft:p99"]) == trial.measurements[1].value("ttft", "p99")
    assert row["parameter:flash-attn"] == "false"


@given(st.sampled_from(NASTY))
def test_csv_keeps_any_value(text: str) -> None:
    maker = StudyMaker(sample_spec(space={"note": ("x", text or "y")}))
    maker.measured(configuration(note=text))
    result = StudyResult(spec=maker.spec, state="done", trials=tuple(maker.trials))
    assert next(csv.DictReader(io.StringIO(csv_text(result), newline="")))["parameter:note"] == text


@pytest.mark.parametrize("kind", SampleKind)
def test_older_results_have_an_entry_per_trial_and_no_invented_number(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    older = strict(export_text(result, "older"))
    counted = [t for t in result.trials if t.role is not TrialRole.CONFIRM and t.state.finished]
    assert [e["experiment_id"] for e in older["all_results"]] == [t.number + 1 for t in counted]
    assert older["total_experiments"] == len(counted)
    for entry, trial in zip(older["all_results"], counted, strict=True):
        if trial.state is not TrialState.DONE:
            assert (entry["status"], entry["objective_score"], entry["metrics"]) == ("failed", None, None)
    won = older["best_result"]
    assert (won is None) == (result.winner is None)
    if result.winner is not None:
        assert won["parameters"] == dict(result.winner.configuration.values)


def test_lower_older_scores_are_better(sampled: Sampled) -> None:
    for kind in ("winner", "latency"):
        older = older_results(sampled(kind))
        met = [e for e in older["all_results"] if e["objective_score"] is not None and not e["slo_violated"]]
        assert older["best_result"]["objective_score"] == min(e["objective_score"] for e in met)


def test_client_limited_or_unmeasured_trial_has_no_older_score(sampled: Sampled, made: Made) -> None:
    limited = older_results(sampled("failures"))["all_results"][6]
    assert (limited["status"], limited["objective_score"]) == ("failed", None)
    maker = StudyMaker(sample_spec())
    trial = maker.measured()
    assert trial.verdict is not None
    endless = trial.verdict.model_copy(update={"objectives": (math.inf,)})
    maker.trials[0] = trial.model_copy(update={"verdict": endless})
    assert older_results(made(maker.sample()))["all_results"][0]["objective_score"] is None


def test_running_trial_is_not_a_result_yet(sampled: Sampled) -> None:
    older = older_results(sampled("empty"))
    assert (older["successful_experiments"], older["all_results"], older["best_result"]) == (0, [], None)


def test_failures_have_message_and_log(sampled: Sampled) -> None:
    entry = older_results(sampled("failures"))["all_results"][1]
    assert entry["error_message"] == "the KV cache does not fit into memory"
    assert "failed to allocate buffer" in entry["container_logs"]


def test_samples_are_deterministic() -> None:
    several = sample_study("several")
    samples._made.cache_clear()
    assert sample_study("several") is not several
    assert sample_study("several") == several
    assert objective_value(sample_study("empty").trials[0]) is None


def test_json_of_any_data() -> None:
    data = {"é\u2028": [1, 10**30, 2.5, -0.0, 1e-7, 1e22, math.inf, math.nan, True, None], "state": TrialState.DONE}
    text = strict_json({**data, "none": {}, "nothing": ()})
    assert text.startswith('{\n  "é\u2028": [\n    1,\n')
    expected = {"é\u2028": [1, 10**30, 2.5, -0.0, 1e-7, 1e22, None, None, True, None], "state": "done"}
    assert strict(text) == {**expected, "none": {}, "nothing": []}


def test_json_of_text_that_is_not_unicode() -> None:
    """Such as the name of a file."""
    assert strict_json({"file": "x\udce9.yaml"}) == '{\n  "file": "x\udce9.yaml"\n}'
