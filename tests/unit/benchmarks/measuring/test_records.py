"""Request records in a file: written atomically and read back unchanged."""

import errno
import resource
import signal
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks import records as earlier
from autotuner.benchmarks.measuring import parquet_file
from autotuner.benchmarks.measuring import records as module
from autotuner.benchmarks.measuring.records import COLUMNS, Records, RunInfo, from_rows, read_records, write_records

NS = st.integers(-(2**62), 2**62)
ROW = st.fixed_dictionaries({
    **dict.fromkeys(COLUMNS, NS),
    "scheduled_ns": st.none() | NS,
    "first_ns": st.none() | NS,
    "gaps_ns": st.lists(NS, max_size=4),
    "input_tokens": st.none() | NS,
    "token_source": st.sampled_from(["usage", "chunks"]),
    "complete": st.booleans(),
    "ramp": st.booleans(),
    "error": st.none() | st.sampled_from(["timeout"]),
    "detail": st.text(st.characters(blacklist_categories=("Cs",)), max_size=5),
    "finish": st.none() | st.sampled_from(["length"]),
    "usage_input": st.none() | NS,
    "usage_output": st.none() | NS,
    "reused": st.none() | st.booleans(),
})  # fmt: skip
INFO = RunInfo(window_ns=5, begin_epoch_s=2.5, asked_rate=3.0, foreign_cpu_cores=0.1)


@given(st.lists(ROW, max_size=4))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("records") / "r.parquet"
    written = from_rows(rows, INFO, {"scenario": "D(1,1)"})
    write_records(path, written)
    assert read_records(path) == written
    assert len(read_records(path)) == len(rows)


def test_file_of_an_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.parquet"
    later = {"finish", "usage_input", "usage_output", "reused"}
    row = {n: "usage" if kind is COLUMNS["error"][0] else 1 for n, (kind, _) in COLUMNS.items() if n not in later}
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "COLUMNS", {n: c for n, c in COLUMNS.items() if n not in later})
        write_records(path, from_rows([{**row, "gaps_ns": [], "complete": True, "ramp": False}], INFO, {}))
    assert {n: read_records(path).columns[n] for n in later} == {name: [None] for name in later}


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.parquet"
    old = from_rows([], INFO, {"n": 1})
    write_records(path, old)

    def full(_: object, file: BinaryIO, **__: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet_file, "write_parquet", full)
    with pytest.raises(OSError, match="No space"):
        write_records(path, Records(old.columns, INFO, {"n": 2}))
    assert read_records(path).where == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["r.parquet"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_records(tmp_path / "none.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match=str(tmp_path / "x.parquet")):
        read_records(tmp_path / "x.parquet")


def test_full_disk_raises_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    """The Parquet library panics if it writes to a full disk itself."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(OSError) as error:  # noqa: PT011 - its number is compared
            write_records(tmp_path / "records.parquet", Records({name: [] for name in COLUMNS}, INFO))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert error.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_records_can_be_read_by_the_earlier_module() -> None:
    assert earlier.read_records is read_records
