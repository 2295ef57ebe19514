"""Volumes with a machine's files: parsed, and derived from the files of a model."""

import pytest

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.volume import Volume, model_volumes, parse_volume, root_of


@pytest.mark.parametrize("text", ["/data:/models", "/data:/models:ro"])
def test_text_of_a_volume(text: str) -> None:
    assert parse_volume(text).text == text
    assert parse_volume(text).read_only == text.endswith(":ro")


@pytest.mark.parametrize("text", ["/data", "data:/data", "/a/../etc:/data", "/a:b", "/a:/b:/c"])
def test_invalid_volumes(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_volume(text)


def test_roots_contain_only_what_is_below_them() -> None:
    roots = ("/mnt/models", "/data")
    assert root_of("/data/llama/model.gguf", roots) == "/data"
    assert root_of("/database/x", roots) is None
    assert root_of("/data/../etc/x", roots) is None


def test_files_of_a_model_are_mounted_under_their_own_paths() -> None:
    snapshot = "/cache/models--org--name/snapshots/abc/config.json"
    found = model_volumes(("/m/a.gguf", "/m/folder-1.5", snapshot, "org/on-the-hub"))
    assert [(volume.target, volume.kind) for volume in found] == [
        ("/m/a.gguf", "File"),
        ("/m/folder-1.5", "Directory"),
        ("/cache/models--org--name", "Directory"),
    ]
    assert all(volume.read_only and volume.source == volume.target for volume in found)


def test_a_root_is_mounted_once_and_whole() -> None:
    found = model_volumes(("/m/a/x.gguf", "/m/b/y.gguf"), roots=("/m",))
    assert found == (Volume(source="/m", target="/m", read_only=True, kind="Directory"),)
