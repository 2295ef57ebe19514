"""Settings of containers: sizes, and the same limits for Docker's API, ``docker run`` and Compose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.manifests.container_settings import (
    ContainerSettings,
    RunLine,
    compose_fields,
    host_config,
    parse_size,
    run_options,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "size"), [("16g", 16 << 30), ("512M", 512 << 20), ("1.5GiB", 3 << 29), (4096, 4096), ("64kb", 64 << 10)]
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@given(st.integers(min_value=1, max_value=1 << 50))
def test_size_in_dockers_units_is_exact(size: int) -> None:
    assert parse_size(size_text(size)) == size


def test_limits_are_the_same_in_all_spellings() -> None:
    settings = ContainerSettings(shm_size="1g", memory="2g", cpus=1.5, ulimits={"nofile": "1024:2048"})
    api = host_config(settings)
    line = RunLine.of(["docker", "run", *run_options(settings), "i:1", "serve"])
    assert line is not None
    compose = compose_fields(settings)
    assert api["ShmSize"] == parse_size(line.options["--shm-size"][0]) == parse_size(compose["shm_size"]) == 1 << 30
    assert api["Memory"] == parse_size(line.options["--memory"][0]) == 2 << 30
    assert api["NanoCpus"] == 1_500_000_000
    assert api["Ulimits"] == [{"Name": "nofile", "Soft": 1024, "Hard": 2048}]
    assert line.options["--ulimit"] == ["nofile=1024:2048"]
    assert compose["ulimits"] == {"nofile": {"soft": 1024, "hard": 2048}}
