"""Every contract of ``.importlinter`` fails on an import that it forbids."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = "src/autotuner"

FORBIDDEN = {
    "layers": ("scoring/score.py", "autotuner.events.types"),
    "independent-plugins": ("search/grid.py", "autotuner.simulator.pool"),
    "deployers": ("deployers/docker/settings.py", "autotuner.deployers.kubernetes.settings"),
    "engines": ("engines/vllm/causes.py", "autotuner.engines.sglang.causes"),
    "benchmarks": ("benchmarks/loadgen/tokens.py", "autotuner.benchmarks.measuring.summary"),
    "pure-core": ("tuning/budget.py", "kr8s"),
    "no-io": ("predict/roofline.py", "httpx"),
    "report": ("report/ranking.py", "autotuner.search.grid"),
    "simulator": ("simulator/pool.py", "autotuner.scoring.slo"),
    "no-test-code": ("search/points.py", "autotuner.testing.samples"),
    "no-tests": ("report/overview.py", "support.labs.cluster"),
    "private-modules": ("report/numbers.py", "autotuner.scoring._private"),
    "cli": ("cli/texts.py", "autotuner.store.paths"),
}
"""For each contract, a module and an import in it that breaks this contract and no other."""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports prints about a copy of the package with all of these imports."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / PACKAGE, copy / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", copy)
    (copy / PACKAGE / "scoring/_private.py").touch()
    for module, imported in FORBIDDEN.values():
        path = copy / PACKAGE / module
        path.write_text(f"{path.read_text()}\nimport {imported}\n")
    # The command puts its working directory first on the path; an editable install would come later anyway.
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    environment = {"PYTHONPATH": str(copy / "src"), "COLUMNS": "300"}
    command = [sys.executable, "-P", "-c", lint]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return " ".join(done.stdout.split())


def contracts() -> dict[str, str]:
    """Name of each contract by its ID."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return {
        s.rpartition(":")[2]: parser[s]["name"] for s in parser.sections() if s.startswith("importlinter:contract:")
    }


@pytest.mark.parametrize("contract", contracts())
def test_contract_fails_on_a_forbidden_import(contract: str, output: str) -> None:
    assert contract in FORBIDDEN, "name an import that breaks this contract"
    assert re.search(rf"{re.escape(contracts()[contract])} BROKEN", output)
