"""``scripts/check_style.py`` finds what it should, and nothing else."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def style() -> ModuleType:
    """The script as a module."""
    spec = spec_from_file_location("check_style", ROOT / "scripts/check_style.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("a, b = f(1), 0\n", [1]),
        ("(a, b), c = f(), 0\n", [1]),
        ("self.a, self.b = a, b\n", [1]),
        ("value, text = plain(value), str(value)\n", [1]),
        ("a, b = b, a\n", []),
        ("left, right = right, left ^ right\n", []),
        ("(a, b), (c, d) = first, last\n", []),
        ("a, b = pair()\n", []),
        ("X = [\n  1,   2,\n]  # fmt: skip\n", []),
        ("X = table(\n  1,   2,\n)  # fmt: skip\n", []),
        ("def f():\n  return {\n    1:   2,\n  }  # fmt: skip\n", []),
        ("@cases(\n  (1,   2),\n)  # fmt: skip\ndef f(): ...\n", []),
        ("def f():\n  call(1,   2)  # fmt: skip\n", [2]),
        ("if True: pass  # fmt: skip\n", [1]),
        ("# fmt: off\nX = 1\n", [1]),
        ("X = '# fmt: off'\n", []),
    ],
)
def test_statements(style: ModuleType, source: str, lines: list[int]) -> None:
    assert [finding.line for finding in style.check_source(source, "src/x.py")] == lines


def test_long_functions(style: ModuleType) -> None:
    body = "    pass\n" * (style.FUNCTION_LINES - 1)
    assert style.check_source("def f():\n" + body, "src/x.py") == []
    assert [finding.line for finding in style.check_source("async def f():\n    pass\n" + body, "src/x.py")] == [1]


def test_long_files_and_their_exceptions(style: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "x = 1\n" * (style.FILE_LINES + 1)
    assert style.check_source(source.partition("\n")[2], "src/x.py") == []
    assert len(style.check_source(source, "src/x.py")) == 1
    monkeypatch.setitem(style.LONG_FILES, "src/x.py", style.FILE_LINES + 1)
    assert style.check_source(source, "src/x.py") == []


@pytest.mark.parametrize("top", ["src", "tests"])
def test_wide_folders(style: ModuleType, tmp_path: Path, top: str) -> None:
    folder = tmp_path / top / "wide"
    folder.mkdir(parents=True)
    for number in range(style.FOLDER_FILES):
        (folder / f"m{number}.py").touch()
    assert list(style.wide_folders(tmp_path)) == []
    (folder / "one_more.py").touch()
    assert [line.partition(":")[0] for line in style.wide_folders(tmp_path)] == [f"{top}/wide"]


def test_violations_are_printed_with_their_place_and_fail(style: ModuleType, tmp_path: Path) -> None:
    for folder in ("scripts", "src"):
        (tmp_path / folder).mkdir()
    script = tmp_path / "scripts/check_style.py"
    script.write_text(Path(style.__file__ or "").read_text())
    (tmp_path / "src/bad.py").write_text("\na, b = 1, 2\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == ["src/bad.py:2"]
