"""Remedies that work, and complete lists of plugins."""

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import autotuner

ROOT = Path(__file__).parents[3]


def test_the_remedy_for_a_grid_over_a_continuous_range_works(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(
        "model: m\nengine: llama_cpp\nparameters: {slot-prompt-similarity: {low: 0.1, high: 0.9}}\n"
        "workload: {scenarios: 'D(8,8)', concurrency: 1}\nobjective: max output_throughput\nsearch: grid\n"
    )
    with pytest.raises(autotuner.UsageError) as wrong:
        autotuner.plan_study(study)
    (problem,) = wrong.value.problems
    path, *values = re.findall(r"search\.\w+|random|bayesian", problem.remedy)
    assert values == ["random", "bayesian"]
    for value in values:
        changed = autotuner.read_study(study, overrides=[f"{path}={value}"])
        assert autotuner.plan_study(changed, preflight=False).space_size is None


@pytest.mark.parametrize(
    ("group", "key", "page_row"),
    [("deployers", "deploy", "| `deploy` |"), ("benchmarks", "benchmark", "| `benchmark` |")],
)
def test_schema_and_page_name_every_kind(group: str, key: str, page_row: str) -> None:
    kinds = {point.name for point in entry_points(group=f"autotuner.{group}") if point.value.startswith("autotuner.")}
    page = (ROOT / "docs/reference/study-file.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{key}` |"))
    assert {kind for kind in kinds if f"`{kind}`" not in row} == set()
    schema: dict[str, Any] = autotuner.study_schema()
    text = schema["properties"][key]["description"]
    assert {kind for kind in kinds if not re.search(rf"\b{kind}\b", text)} == set()


def test_the_command_line_writes_the_report_where_its_help_says(stored: str, home: Path) -> None:
    page = (ROOT / "docs/reference/cli.md").read_text()
    help_text = " ".join(page[page.index("## autotuner report") :].partition("\n## ")[0].split())
    out = help_text[help_text.index("--out") : help_text.index("--store")]
    assert "default: report.html" in out
    assert "default: stdout" not in out
    assert autotuner.write_report(stored) == home / "studies" / stored / "report.html"
