"""The refusal of an edited study names the keys that were changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.tuning.planning.resuming.changed_settings import change_text, changed_settings

ENGINE = {"kind": "simulated", "gpu": "H100"}
ENGINES = {"engine": None, "engines": [{"name": "a", **ENGINE}, {"name": "b", **ENGINE, "flavor": "vllm"}]}
SCENARIOS = ["D(256,32)", "D(128,32)", "N(480,240)/(300,150)", "D(25,1)", "D(100,9)", "D(1000,90)", "D(9,9)"]
LONG = "".join(f"word{i} " for i in range(40))


def spec(**changes: Any) -> StudySpec:
    workload = {"scenarios": "D(256,32)", "concurrency": [4, 32], **changes.pop("workload", {})}
    content = {"name": "s", "model": "Qwen3-8B", "engine": ENGINE, "objective": "max output_throughput", **changes}
    written = json.dumps({k: v for k, v in {**content, "workload": workload}.items() if v is not None})
    return parse_study(written, source="study.yaml", folder=Path("/")).spec


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({}, {"workload": {"concurrency": [4, 32, 64]}}, ["workload.concurrency was [4, 32], is now [4, 32, 64]"]),
        ({}, {"workload": {"duration": "7s"}}, ["workload.duration was 30s, is now 7s"]),
        ({}, {"quality": "auto"}, ["quality was added"]),
        ({"quality": "auto"}, {}, ["quality was removed"]),
        ({"quality": "auto"}, {"quality": {"prompts": 64}}, ["quality.prompts was 32, is now 64"]),
        ({}, ENGINES, ["it had one engine, now has engines a, b"]),
        (ENGINES, {}, ["it had engines a, b, now has one engine"]),
        (
            {"workload": {"scenarios": SCENARIOS}},
            {"workload": {"scenarios": [*SCENARIOS[1:], "D(7,7)"]}},
            ['workload.scenarios lost "D(256,32)" and gained "D(7,7)"'],
        ),
    ],
)
def test_changes_are_named_as_in_the_file(old: dict[str, Any], new: dict[str, Any], changed: list[str]) -> None:
    assert changed_settings(spec(**old), spec(**new)) == changed


def test_long_texts_are_shown_where_they_differ() -> None:
    text = change_text("engine.chat", LONG, LONG.replace("word30", "other"))
    assert "…ord27 word28 word29 word30 " in text
    assert ", is now …ord27 word28 word29 other " in text


def test_lists_in_another_order() -> None:
    assert change_text("x", SCENARIOS, SCENARIOS[::-1]) == "x is in another order"
