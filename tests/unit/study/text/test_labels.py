"""Labels of workers."""

import pytest

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.labels import checked_labels, parse_labels


def test_labels_are_read() -> None:
    assert parse_labels([]) == {}
    assert parse_labels(["gpu=h100", "zone=eu-1", "gpu=h100"]) == {"gpu": "h100", "zone": "eu-1"}
    assert parse_labels(["node.k8s.io/pool=a_b"]) == {"node.k8s.io/pool": "a_b"}


@pytest.mark.parametrize(
    "texts",
    [["gpu"], ["=h100"], ["gpu="], ["gpu=a,b"], ["gpu=a=b"], ["gpu=a b"], ["-gpu=a"], ["gpu=a-"], ["gpu=a", "gpu=b"]],
)
def test_anything_else_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidValueError):
        parse_labels(texts)


def test_their_number_and_length_are_bounded() -> None:
    assert len(checked_labels({f"l{n}": "x" for n in range(20)})) == 20
    with pytest.raises(InvalidValueError, match="more than 20"):
        checked_labels({f"l{n}": "x" for n in range(21)})
    checked_labels({"a" * 63: "x"})
    with pytest.raises(InvalidValueError):
        checked_labels({"a" * 64: "x"})
