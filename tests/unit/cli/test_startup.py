"""Commands that only look at results load nothing that launches, measures, searches or migrates.

What takes time at start-up is imports, so they are what is tested: seconds differ by machine (``make bench-startup``).
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAVY = (
    "aiodocker", "aiohttp", "alembic", "anyio", "arro3", "httpx", "kr8s", "numpy", "optuna", "orjson", "pandas",
    "psycopg", "pynvml", "scipy", "sqlalchemy", "torch", "uvloop", "xllamacpp",
)  # fmt: skip
NAME = "chat-8b"
COUNT = """
import json, sys
from autotuner.cli.main import main
sys.argv = ["autotuner", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as ended:
    code = ended.code
print(json.dumps([code or 0, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words", [["list"], ["show", "chat-8b"], ["best", "chat-8b"], ["logs", "chat-8b"], ["version"]]
)
def test_looking_loads_nothing_heavy(words: list[str], keep: Callable[..., Any], home: Path) -> None:
    sample = keep("winner")
    folder = home / "studies" / "chat-8b" / "trials" / f"{sample.trials[-1].number:04d}"
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("a line\n")
    ran = subprocess.run([sys.executable, "-c", COUNT, json.dumps(words)], capture_output=True, text=True, check=False)
    code, loaded = json.loads(ran.stderr.splitlines()[-1])
    assert code == 0, ran.stderr
    assert ran.stdout
    assert [name for name in loaded if name.startswith(HEAVY)] == []
    assert len(loaded) < 600
