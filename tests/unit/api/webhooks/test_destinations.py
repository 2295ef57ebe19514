"""Where addresses and secrets come from."""

from pathlib import Path

import pytest

import autotuner
from autotuner.api.webhooks.destinations import destination, source_of
from autotuner.errors import AutotunerError, UsageError


@pytest.mark.parametrize(
    ("env", "file"), [("A", "/b"), ("1A", ""), ("A B", ""), ("", "relative/path"), ("A=B", ""), ("$A", "")]
)
def test_sources_that_name_nothing(env: str, file: str) -> None:
    with pytest.raises(UsageError):
        source_of(env, file, where="url")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"url": "https://ops.example.com", "url_env": "HOOK"},
        {"url": "http://192.168.0.1/"},
        {"url": "https://ops.example.com", "form": "xml"},
        {"url": "https://ops.example.com", "events": ["study.deleted"]},
        {"name": "", "url": "https://ops.example.com"},
    ],
)
def test_what_cannot_be_added(arguments: dict[str, object], webhooks: autotuner.Webhooks, home: Path) -> None:
    with pytest.raises(UsageError):
        webhooks.add(**{"name": "ops", **arguments})  # type: ignore[arg-type]
    assert webhooks.list() == []
    assert not (home / "webhooks").exists()


def test_each_missing_part_is_named(
    webhooks: autotuner.Webhooks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = webhooks.add("ops", url_env="OPS_HOOK", secret_file=str(tmp_path / "secret")).webhook
    with pytest.raises(AutotunerError, match="address is not in the variable OPS_HOOK"):
        destination(made, ())
    monkeypatch.setenv("OPS_HOOK", "https://ops.example.com/hook")
    with pytest.raises(AutotunerError, match="signing secret cannot be read"):
        destination(made, ())
    (tmp_path / "secret").write_text("short")
    with pytest.raises(UsageError, match="5 bytes"):
        destination(made, ())
    (tmp_path / "secret").write_text("k" * 40)
    assert destination(made, ()).key == b"k" * 40
    monkeypatch.setenv("OPS_HOOK", "http://169.254.169.254/latest")
    with pytest.raises(UsageError, match="private network"):
        destination(made, ())


def test_removing_a_webhook_removes_its_file(webhooks: autotuner.Webhooks, home: Path) -> None:
    made = webhooks.add("ops", "https://ops.example.com/hook").webhook
    assert list((home / "webhooks").iterdir()) == [home / "webhooks" / f"{made.id}.json"]
    webhooks.remove(made.id)
    assert list((home / "webhooks").iterdir()) == []
    with pytest.raises(autotuner.NotFoundError):
        webhooks.remove(made.id)
    with pytest.raises(autotuner.NotFoundError):
        webhooks.test(made.id)
