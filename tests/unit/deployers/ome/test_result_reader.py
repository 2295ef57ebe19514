"""Reader of results in a volume, run as in its pod."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def read(root: Path, folder: str, *, read: bool = True) -> subprocess.CompletedProcess[bytes]:
    order = json.dumps({"root": str(root), "folder": folder, "read": read}).encode()
    command = [sys.executable, "-m", "autotuner.deployers.ome.result_reader"]
    return subprocess.run(command, input=order, capture_output=True, check=False)


def messages(ended: subprocess.CompletedProcess[bytes]) -> list[Any]:
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A volume with the results of two runs, next to another file."""
    for name in ("one", "two"):
        folder = tmp_path / "volume" / name
        (folder / "plots").mkdir(parents=True)
        (folder / "experiment_metadata.json").write_text("{}")
        (folder / "b.json").write_bytes(b"\xff\x00 not text\n")
        (folder / "a_summary.xlsx").write_text("table")
        (folder / "plots" / "c.json").write_text("{}")
    (tmp_path / "precious").write_text("keep")
    return tmp_path / "volume"


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_every_result_is_printed_and_its_folder_removed(root: Path) -> None:
    before = names(root / "two")
    first, second, found = messages(read(root, "one"))
    assert (first["name"], base64.b64decode(first["content"])) == ("b.json", b"\xff\x00 not text\n")
    assert (second["name"], base64.b64decode(second["content"])) == ("experiment_metadata.json", b"{}")
    assert found == {"found": True}
    assert [path.name for path in root.iterdir()] == ["two"]
    assert names(root / "two") == before


def test_removal_without_reading(root: Path) -> None:
    assert messages(read(root, "one", read=False)) == []
    assert [path.name for path in root.iterdir()] == ["two"]


def test_missing_folder(root: Path) -> None:
    before = names(root)
    assert messages(read(root, "three")) == [{"found": False}]
    assert messages(read(root, "three", read=False)) == []
    assert names(root) == before


@pytest.mark.parametrize(
    "folder", ["", ".", "..", "../volume", "../elsewhere", "one/plots", "/", "{root}/../elsewhere"]
)
@pytest.mark.parametrize("reads", [True, False])
def test_only_folders_of_runs_are_accepted(root: Path, folder: str, *, reads: bool) -> None:
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "x.json").write_text("{}")
    before = names(root.parent)
    ended = read(root, folder.format(root=root), read=reads)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert len(ended.stderr.splitlines()) == 1
    assert names(root.parent) == before


def test_link_is_not_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "one")
    before = names(root)
    ended = read(root, "link")
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert len(ended.stderr.splitlines()) == 1
    assert names(root) == before


def test_file_instead_of_a_folder(root: Path) -> None:
    (root / "file").write_text("keep")
    ended = read(root, "file")
    assert ended.returncode == 1
    assert b"Not a directory" in ended.stderr
    assert (root / "file").read_text() == "keep"
