"""Releases in names of images and engines."""

import pytest

from autotuner.study.search.release import Release


@pytest.mark.parametrize(
    ("name", "line", "number"),
    [
        ("lmsysorg/sglang:v0.5.9", "sglang lmsysorg/sglang:v", "0.5.9"),
        ("lmsysorg/sglang:v0.5.10.post1-cu130", "sglang lmsysorg/sglang:v", "0.5.10.post1"),
        ("1.2.0rc6.post3", "sglang ", "1.2.0rc6.post3"),
        ("tritonserver:25.04-py3", "sglang tritonserver:", "25.04"),
        ("10.0.10.5:5000/sglang:0.5.9-rc1", "sglang 10.0.10.5:5000/sglang:", "0.5.9-rc1"),
    ],
)
def test_a_name_states_a_release(name: str, line: str, number: str) -> None:
    assert Release.named(name, "sglang") == Release(line, number)


@pytest.mark.parametrize("name", ["", "latest", "vllm", "10.0.10.5:5000/sglang:latest", "sglang:24", "b6123"])
def test_a_name_states_none(name: str) -> None:
    assert Release.named(name, "sglang") is None
