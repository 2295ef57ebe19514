"""Names of container images: tags, digests and the ports of registries."""

import pytest

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.image_name import check_tags, image_name


@pytest.mark.parametrize(
    ("image", "tag", "default", "name"),
    [
        (None, None, "vllm/vllm-openai:v0.11.0", "vllm/vllm-openai:v0.11.0"),
        (None, "v0.12.0", "vllm/vllm-openai:v0.11.0", "vllm/vllm-openai:v0.12.0"),
        ("my.host:5000/vllm", "x", "other:1", "my.host:5000/vllm:x"),
        ("my.host:5000/vllm", None, None, "my.host:5000/vllm:latest"),
        ("a/b@sha256:12", None, None, "a/b@sha256:12"),
        (None, "1", "a/b@sha256:12", "a/b:1"),
        (None, None, None, None),
    ],
)
def test_image_name(image: str | None, tag: str | None, default: str | None, name: str | None) -> None:
    assert image_name(image, tag, default) == name


def test_two_tags_are_refused() -> None:
    check_tags("my.host:5000/vllm", "x")
    with pytest.raises(InvalidValueError):
        check_tags("my.host:5000/vllm:1", "x")
