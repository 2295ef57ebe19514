"""Names of what configurations are compared with."""

import pytest

from autotuner.study.configuration import Configuration
from autotuner.study.parameters.reference import reference_text, reference_word


@pytest.mark.parametrize(
    ("values", "word", "text"),
    [
        ({}, "default", "(default)"),
        ({"engine": "vllm"}, "default", "default: engine=vllm"),
        ({"threads": 2}, "baseline", "baseline: threads=2"),
        ({"engine": "vllm", "vllm.tp": None}, "baseline", "baseline: engine=vllm vllm.tp=-"),
    ],
)
def test_one_word_says_whether_the_engine_decides_everything(values: dict[str, object], word: str, text: str) -> None:
    configuration = Configuration.model_validate({"values": values})
    assert reference_word(configuration.values) == word
    assert reference_text(configuration) == text
