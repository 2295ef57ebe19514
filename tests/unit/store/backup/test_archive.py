"""Entries of the archive: their sizes, and the names that are accepted."""

import io
import tarfile

import pytest

from autotuner.store.backup import restoring, writing


def test_a_log_that_grows_or_shrinks_meanwhile_is_kept_at_its_size() -> None:
    for now, kept in ((b"line 1\nline 2\n", b"line 1\n"), (b"li", b"li" + bytes(5))):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w|gz") as archive:
            writing._add(archive, "server.log", io.BytesIO(now), 1.0, size=7)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            content = archive.extractfile("server.log")
            assert content is not None
            assert content.read() == kept


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("backup.json", True),
        ("tables/studies.jsonl", True),
        ("studies/chat-8b/trials/0000/server.log", True),
        ("tables/a/b.jsonl", False),
        ("tables/studies.txt", False),
        ("studies/server.log", False),
        ("studies/../x/y", False),
        ("studies/-x/y", False),
        ("studies//x/y", False),
        ("/studies/x/y", False),
        ("autotuner.db", False),
    ],
)
def test_only_names_of_a_backup_are_accepted(name: str, accepted: bool) -> None:
    assert restoring._expected(name) == accepted
