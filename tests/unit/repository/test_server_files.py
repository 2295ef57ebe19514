"""What installs the tuner as a service: Compose file and systemd units, checked by the tools that read them."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from autotuner import __version__
from autotuner.cli.server.commands import DEFAULT_PORT
from support.compose_files import compose_problems

FOLDER = Path(__file__).parents[3] / "packaging" / "server"
IMAGE = f"llm-inference-autotuner/server:{__version__}"
UNITS = ("autotuner.service", "autotuner-worker.service")


def test_the_compose_file_is_valid() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    assert compose_problems(text) == []
    services = YAML(typ="safe").load(text)["services"]
    assert set(services) == {"database", "server", "worker-1", "worker-2"}
    assert {service["image"] for name, service in services.items() if name != "database"} == {IMAGE}
    # Nothing listens beyond this machine, and no password is in the file.
    assert [port for service in services.values() for port in service.get("ports", ())] == [
        "127.0.0.1:5432:5432",
        f"127.0.0.1:{DEFAULT_PORT}:{DEFAULT_PORT}",
    ]
    assert {service["environment"].get("PGPASSWORD") for name, service in services.items() if name != "database"} == {
        "${POSTGRES_PASSWORD:?set a password}"
    }


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    text = (FOLDER / name).read_text()
    program = Path(sys.executable).with_name("autotuner")
    changed = re.sub(r"(?m)^ExecStart=/opt/autotuner/bin/autotuner", f"ExecStart={program}", text)
    assert changed != text
    (tmp_path / name).write_text(changed)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    # Units of the machine that this one refers to are not its fault.
    assert [line for line in checked.stderr.splitlines() if name in line] == []


def test_all_files_run_commands_that_exist() -> None:
    started = re.findall(r"ExecStart=\S+ (.*)", "\n".join((FOLDER / name).read_text() for name in UNITS))
    compose = YAML(typ="safe").load((FOLDER / "compose.yaml").read_text())["services"]
    started += [" ".join(service["command"]) for service in compose.values() if "command" in service]
    for manifest in YAML(typ="safe").load_all((FOLDER / "kubernetes.yaml").read_text()):
        for container in manifest["spec"].get("template", {}).get("spec", {}).get("containers", ()):
            assert container["image"] == IMAGE
            started.append(" ".join(container["args"]))
    assert len(started) == 7
    for line in set(started):
        command, *options = line.split()
        shown = subprocess.run(
            [sys.executable, "-m", "autotuner", command, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for option in options:
            assert not option.startswith("--") or option in shown


def test_the_dockerfile_installs_extras_that_exist() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"ARG EXTRAS=(\S+)", text)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert f"-t {IMAGE} " in text
    assert f"EXPOSE {DEFAULT_PORT}" in text
    assert re.findall(r"USER (\S+)", text) == ["10001:10001"]
