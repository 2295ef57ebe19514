"""Workflows, hooks and metadata say the same as pyproject.toml and the Makefile."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
MAKEFILE = (ROOT / "Makefile").read_text()


def load(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text())


def targets() -> set[str]:
    """Names of the Makefile's targets."""
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def commands(workflow: str) -> list[str]:
    """What the steps of a workflow run."""
    jobs = load(f".github/workflows/{workflow}.yml")["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_ci_tests_every_python_that_the_package_names() -> None:
    matrix = load(".github/workflows/ci.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: "
    assert matrix == [c.removeprefix(prefix) for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert PROJECT["requires-python"] == f">={matrix[0]}"


def test_workflows_call_what_there_is() -> None:
    for workflow in ("ci", "docs", "release"):
        for command in commands(workflow):
            if command.startswith("make "):
                assert set(command.split()[1:]) <= targets()
    assert any(".ci/run" in command for command in commands("ci"))
    assert "exec make test" in (ROOT / ".ci/run").read_text()


def test_every_check_of_make_lint_is_a_hook() -> None:
    recipe = MAKEFILE.partition("\nlint:\n")[2].partition("\n\n")[0]
    hooks = "\n".join(hook["entry"] for repo in load(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"])
    tools = set(re.findall(r"\$\(BIN\)/(?:python )?(\S+)", recipe))
    assert len(tools) >= 6
    assert {tool for tool in tools if tool not in hooks} == set()
    assert "lint-imports" in hooks


def test_only_publishing_may_get_an_identity_token() -> None:
    for workflow, deploying in (("ci", set()), ("docs", {"deploy"}), ("release", {"publish"})):
        loaded = load(f".github/workflows/{workflow}.yml")
        assert loaded["permissions"] == {"contents": "read"}
        jobs = loaded["jobs"].items()
        assert {name for name, job in jobs if "id-token" in job.get("permissions", {})} == deploying
        assert all("timeout-minutes" in job for _, job in jobs)


def test_the_release_is_published_under_the_name_of_the_distribution() -> None:
    url = load(".github/workflows/release.yml")["jobs"]["publish"]["environment"]["url"]
    assert url.rstrip("/").rpartition("/")[2] == PROJECT["name"]


def test_the_citation_names_this_version() -> None:
    citation = load("CITATION.cff")
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_setup_installs_what_the_lock_names() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (ours,) = (package for package in packages if package["source"] == {"editable": "."})
    assert ours["name"] == PROJECT["name"]
    assert set(ours["optional-dependencies"]) == set(PROJECT["optional-dependencies"])
    assert set(ours["dev-dependencies"]) == set(PYPROJECT["dependency-groups"])
    assert all("hash" in file for p in packages if p is not ours for file in (p.get("wheels") or [p["sdist"]]))
    setup = (ROOT / "scripts/setup.sh").read_text()
    assert "export -q --frozen" in setup
    assert "--require-hashes" in setup


def test_the_development_container_runs_targets_of_the_makefile() -> None:
    """The keys are among those that the reference at containers.dev lists for a container from an image."""
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text()
    settings = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    assert settings.keys() <= {"name", "image", "remoteUser", "privileged", "postCreateCommand", "customizations"}
    program, *run = settings["postCreateCommand"].split()
    assert program == "make"
    assert set(run) <= targets()
    minor = int(settings["image"].partition(":3.")[2].partition("-")[0])
    assert f"Programming Language :: Python :: 3.{minor}" in PROJECT["classifiers"]
    assert all(name.count(".") == 1 for name in settings["customizations"]["vscode"]["extensions"])
