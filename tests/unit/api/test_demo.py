"""The demo: what it writes, and what it never replaces."""

from pathlib import Path

import pytest

import autotuner
from autotuner.errors import AutotunerError

ROOT = Path(__file__).parents[3]


def test_study_of_the_demo_is_valid_and_that_of_the_quickstart(tmp_path: Path) -> None:
    demo = autotuner.read_study(autotuner.write_demo(tmp_path / "new" / "demo")).spec
    quickstart = autotuner.read_study(ROOT / "examples" / "quickstart.yaml").spec
    assert Path(str(demo.model.path)).read_bytes()[:4] == b"GGUF"
    same = {"name": quickstart.name, "model": quickstart.model}
    assert demo.model_copy(update=same) == quickstart


def test_a_changed_study_file_is_kept(tmp_path: Path) -> None:
    study = autotuner.write_demo(tmp_path)
    study.write_text("name: mine\n")
    assert autotuner.write_demo(tmp_path).read_text() == "name: mine\n"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AutotunerError, match=f"cannot write to {tmp_path}/file: it is not a folder"):
        autotuner.write_demo(tmp_path / "file")
