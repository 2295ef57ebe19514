"""The code on the page about the Python API runs on a real server, and the page covers the whole API."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.report.result import StudyResult, study_result
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from autotuner.testing.samples import sample_study

PAGE = "docs/reference/python-api.md"
STUDY = f"""
model: models/my-model.gguf
engine: {{kind: llama_cpp, args: {{ctx-size: 2048}}}}
parameters: {{parallel: [1, 4]}}
workload: {json.dumps(calm_workload("D(24,6)"))}
benchmark: {json.dumps(CALM_BENCHMARK)}
objective: max output_throughput
search: {{trials: 2}}
confirm: {{repeats: 0}}
"""


@pytest.mark.real
def test_every_block_runs(workplace: Path, fenced: Callable[[str, str], list[str]], capsys: Any) -> None:
    (workplace / "study.yaml").write_text(STUDY)
    blocks = fenced(PAGE, "python")
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, PAGE, "exec"), names)  # noqa: S102 - that is the test
    output = capsys.readouterr().out
    assert isinstance(names["result"], StudyResult)
    assert names["result"].state == "done"
    assert f"work-study done llama_cpp {workplace / 'study.yaml'}" in output
    assert "from-python done llama_cpp my program" in output
    sample = sample_study("winner")
    names["result"] = study_result(sample.spec, sample.state, sample.trials)
    about_a_result = [b for b in blocks if b.startswith(("if result.gain is not None", "for m in result.trials"))]
    assert len(about_a_result) == 2
    for block in about_a_result:
        exec(compile(block, PAGE, "exec"), names)  # noqa: S102 - the blocks about a result, on one with a proven gain
    assert "+21.4%, 95% interval +18.3% to +24.7%\nD(128,48) concurrency=4 " in capsys.readouterr().out


def test_the_page_names_every_attribute_and_function(fenced: Callable[[str, str], list[str]]) -> None:
    page = (Path(__file__).parents[2] / PAGE).read_text()
    named = set(re.findall(r"`([a-z_]+)`", page)) | {"why"}
    assert set(StudyResult.model_fields) | {"repeats"} <= named
    for name in autotuner.__all__:
        assert re.search(rf"`{name}[`(]", page)
        assert getattr(autotuner, name)
    with pytest.raises(AttributeError, match="no attribute 'tunes'"):
        _ = autotuner.tunes
