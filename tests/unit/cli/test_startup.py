"""Commands that only read results import nothing that launches, measures, searches or migrates.

Imports take most of the start-up time, and unlike seconds they do not depend on the machine (``make bench-startup``).
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
    "psycopg", "pynvml", "rich._emoji_codes", "rich.markdown", "rich.progress", "ruamel", "scipy", "sqlalchemy",
    "torch", "uvloop", "xllamacpp", "yaml",
)  # fmt: skip
READING = {"api", "cli", "errors", "invalid_value", "plain_text", "scoring", "secrets", "store", "study", "tuning"}
PAGES = READING | {"report"}
COMMANDS: dict[str, tuple[list[str], set[str], int]] = {
    "list": (["list"], PAGES, 437),
    "show": (["show", "chat-8b"], PAGES, 455),
    "best": (["best", "chat-8b"], PAGES | {"manifests"}, 397),
    "logs": (["logs", "chat-8b"], READING | {"deployers"}, 375),
    "version": (["version"], {"api", "cli", "errors", "invalid_value", "plain_text", "secrets"}, 315),
}
"""Per command: its arguments, which of our packages it may load, and how many modules in all (about 40 above what it
loads with today's versions of typer, pydantic and rich)."""
TABLES = {"list", "show"}
"""Commands that draw with rich."""
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


@pytest.mark.parametrize("command", COMMANDS)
def test_reading_results_imports_nothing_heavy(command: str, store_study: Callable[..., Any], home: Path) -> None:
    arguments, packages, most = COMMANDS[command]
    sample = store_study("winner")
    folder = home / "studies" / "chat-8b" / "trials" / f"{sample.trials[-1].number:04d}"
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("a line\n")
    argv = [sys.executable, "-c", COUNT, json.dumps(arguments)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    code, loaded = json.loads(ran.stderr.splitlines()[-1])
    assert code == 0, ran.stderr
    assert ran.stdout
    assert [name for name in loaded if name.startswith(HEAVY)] == []
    assert {name.split(".")[1] for name in loaded if name.startswith("autotuner.")} <= packages
    assert ("rich" in loaded) == (command in TABLES)
    assert len(loaded) < most
