"""The section ``worker`` of a study file."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study


def spec_with(worker: Any) -> StudySpec:
    study = {
        "name": "s",
        "model": "m",
        "engine": "llama_cpp",
        "workload": {"scenarios": ["D(16,8)"], "concurrency": [1]},
        "objective": "max output_throughput",
        "worker": worker,
    }
    return parse_study(study, source="study", folder=Path("/")).spec


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("gpu=h100", {"gpu": "h100"}),
        (["gpu=h100", "zone=eu"], {"gpu": "h100", "zone": "eu"}),
        ({"gpu": "h100", "slots": 8}, {"gpu": "h100", "slots": "8"}),
        ({}, {}),
    ],
)
def test_labels_are_text_a_list_or_a_mapping(written: Any, labels: dict[str, str]) -> None:
    spec = spec_with(written)
    assert spec.worker == labels
    assert parse_study(render_study(spec), source="study", folder=Path("/")).spec == spec


@pytest.mark.parametrize("written", ["gpu", 5, [5], {"gpu": None}, {"gpu": True}, {"gpu": "a,b"}, ["gpu=a", "gpu=b"]])
def test_anything_else_is_refused_at_its_place(written: Any) -> None:
    with pytest.raises(UsageError) as caught:
        spec_with(written)
    assert all("worker" in problem.where for problem in caught.value.problems)


def test_labels_do_not_change_what_is_measured() -> None:
    assert spec_with("gpu=h100").digest == spec_with({}).digest
    assert spec_with("gpu=h100").first_digest == spec_with({}).first_digest
