"""The generated model file, on which all tests with real servers run."""

import subprocess
import sys
from pathlib import Path

import pytest

from autotuner.demo_model import write_tiny_gguf

SMALL = {"layers": 1, "width": 64, "heads": 2, "kv_heads": 1, "ffn": 64, "vocabulary": 512}


def test_two_runs_give_identical_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("1.gguf", "2.gguf", "3.gguf"))
    write_tiny_gguf(one, **SMALL)
    subprocess.run([sys.executable, "-m", "autotuner.demo_model", two, *_options()], check=True)
    write_tiny_gguf(other, **SMALL, seed=1)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != other.read_bytes()


def _options() -> list[str]:
    return [part for name, value in SMALL.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def test_a_complete_file_is_kept_and_a_broken_one_rewritten(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "sub" / "m.gguf", **SMALL)
    whole = path.read_bytes()
    before = path.stat()
    write_tiny_gguf(path, **SMALL)
    assert path.stat().st_ino == before.st_ino
    path.write_bytes(whole[:-100])
    write_tiny_gguf(path, **SMALL)
    assert path.read_bytes() == whole
    write_tiny_gguf(path, **SMALL, seed=2)
    assert path.read_bytes() != whole
    assert [p.name for p in path.parent.iterdir()] == ["m.gguf"]


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotuner.demo_model.Random", lambda _: None)
    with pytest.raises(AttributeError):
        write_tiny_gguf(tmp_path / "m.gguf", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"width": 100}, {"heads": 3}, {"vocabulary": 100}, {"vocabulary": 10**6}])
def test_invalid_shapes_are_rejected(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        write_tiny_gguf(tmp_path / "m.gguf", **{**SMALL, **wrong})


def test_the_command_reports_an_invalid_shape(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autotuner.demo_model", tmp_path / "m.gguf", "--width", "100"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: width")
