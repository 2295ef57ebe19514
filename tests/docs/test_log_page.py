"""The page about the log lists exactly the modules that write to it."""

import re
from importlib import import_module
from pathlib import Path

import autotuner

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/diagnose-a-failing-start.md"
SOURCE = Path(autotuner.__file__).parent
WRITES = re.compile(r"^ +logger\.(?:debug|info|log)\(", re.MULTILINE)


def test_table_lists_every_module_that_logs() -> None:
    named = re.findall(r"^\| `(autotuner\.[\w.]+)` \|", PAGE.read_text(), re.MULTILINE)
    files = [path for path in SOURCE.rglob("*.py") if WRITES.search(path.read_text()) and path.name != "logs.py"]
    logging = {".".join(("autotuner", *path.relative_to(SOURCE).with_suffix("").parts)) for path in files}
    assert set(named) == logging
    assert {import_module(name).logger.name for name in named} == logging
