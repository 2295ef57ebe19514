"""Folders of tests: each folder of the package with logic has one of the same path."""

from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src" / "autotuner"
UNIT = ROOT / "tests" / "unit"
ELSEWHERE = {
    "simulator/sglang": "tests/unit/simulator runs both engines through the same tests",
    "simulator/vllm": "tests/unit/simulator runs both engines through the same tests",
    "simulator/shims/sglang": "started from an image in tests/integration/docker",
    "simulator/shims/vllm/entrypoints/openai": "started from an image in tests/integration/ome",
    "store/migrations": "tests/integration/store migrates databases",
    "store/migrations/versions": "tests/integration/store migrates databases",
}
"""Folders of the package that are tested elsewhere, with the reason. The list may shrink, not grow."""
ONLY_TESTS = {"repository"}
"""Folders of unit tests for what is not part of the package: scripts, workflows, metadata."""


def with_logic() -> set[str]:
    modules = (path for path in PACKAGE.rglob("*.py") if path.name not in {"__init__.py", "__main__.py"})
    return {path.parent.relative_to(PACKAGE).as_posix() for path in modules}


def with_tests() -> set[str]:
    return {path.parent.relative_to(UNIT).as_posix() for path in UNIT.rglob("test_*.py")}


def test_folders_of_the_package_have_folders_of_tests() -> None:
    assert with_logic() - with_tests() == set(ELSEWHERE)


def test_folders_of_tests_have_folders_of_the_package() -> None:
    folders = {path.relative_to(PACKAGE).as_posix() for path in [PACKAGE, *PACKAGE.rglob("*")] if path.is_dir()}
    assert with_tests() - folders == ONLY_TESTS
