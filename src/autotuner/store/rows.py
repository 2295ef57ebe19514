"""Decoding of database rows, and the errors of rows and databases that cannot be read.

Shared by :mod:`autotuner.store.reader` and the store itself. Nothing here imports SQLAlchemy.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from autotuner.errors import EnvironmentFaultError
from autotuner.plain_text import joined_line
from autotuner.secrets import clean_text
from autotuner.store.records import EventRecord, OwnerRecord, QueueEntry, QueueState, StudyRecord, WorkerRecord
from autotuner.study.owner import Owner
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.study.trial import Trial, TrialState

HEAD = "0014"
"""Newest revision; a test compares it with the migrations."""
BUSY_TIMEOUT_S = 30
FINISHED = tuple(state.value for state in TrialState if state.finished)
"""States of trials with a result."""
Row = dict[str, Any]
"""One row by column name."""
_DAMAGED = (ValueError, TypeError, RecursionError)
"""Errors of reading a damaged value; JSON of endless brackets raises the last one."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class StoreError(EnvironmentFaultError):
    """The store cannot be used. The message is one line and never has a password."""

    @staticmethod
    def unusable(shown_url: str, why: str, secrets: Iterable[str] = ()) -> "StoreError":
        """An error of the database itself.

        Args:
            shown_url: The store's URL as it may be displayed.
            why: The database's message, on any number of lines.
            secrets: Values to take out of the message.
        """
        reason = clean_text(joined_line(why), [*secrets])[:300]
        return StoreError(f"the store {shown_url} cannot be used: {reason}")


class UnreadableError(StoreError):
    """A stored row is damaged, or was written by an incompatible version."""

    def __init__(self, study: str, part: str, error: Exception) -> None:
        why = joined_line(str(error))[:200]
        super().__init__(
            f"{part}the stored study {study} cannot be read ({why})",
            remedy=f"remove it: autotuner delete {study}",
            details={"study": study},
        )


def is_unstorable(text: str) -> bool:
    """Whether JSON text may have what :func:`storable` replaces; in it, NUL is written as an escape."""
    return "\\u0000" in text or _UNSTORABLE.search(text) is not None


def storable(data: Any) -> Any:
    """The value with NUL and lone surrogates replaced, which databases refuse in text."""
    if isinstance(data, str):
        return data.replace("\0", "\ufffd").encode(errors="replace").decode() if _UNSTORABLE.search(data) else data
    if isinstance(data, Mapping):
        return {storable(key): storable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [storable(item) for item in data]
    return data


def read_owner(row: Mapping[str, Any]) -> OwnerRecord:
    """One row of ``owners``."""
    known = {name: row[name] for name in ("id", "host", "pid", "started")}
    return OwnerRecord(
        owner=Owner(**known, process=row["process"] or ""),
        heartbeat_at=row["heartbeat_at"],
        ended_at=row["ended_at"],
        lease_s=row["lease_s"],
    )


def read_queue(rows: Iterable[Mapping[str, Any]]) -> list[QueueEntry]:
    """The rows of ``queue``, the waiting ones first and in the order in which they will be taken."""
    return [
        QueueEntry.model_validate(
            {
                **row,
                "labels": labels_of(row["labels"]),
                "refusals": refusals_of(row["refusals"]),
                "position": index if row["state"] == QueueState.QUEUED else None,
            }
        )
        for index, row in enumerate(rows, start=1)
    ]


def read_worker(row: Mapping[str, Any]) -> WorkerRecord:
    """One row of ``workers``."""
    return WorkerRecord.model_validate({**row, "labels": labels_of(row["labels"])})


def refusals_of(text: str | None) -> dict[str, str]:
    """Why workers cannot run a queued study, by their ids."""
    found: dict[str, str] = json.loads(text or "{}")
    return found


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as they are stored: ``disk=nvme,gpu=h100``."""
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels))


def labels_of(text: str) -> dict[str, str]:
    """The labels that :func:`labels_text` wrote."""
    return {name: value for name, _, value in (pair.partition("=") for pair in text.split(",") if pair)}


def read_study(row: Mapping[str, Any]) -> StudyRecord:
    """One row of ``studies``. Raises :class:`UnreadableError`."""
    values = {k: v for k, v in row.items() if k in StudyRecord.model_fields}
    try:
        values["spec"] = StudySpec.model_validate_json(values["spec"])
        values["summary"] = json.loads(values["summary"]) if values["summary"] else None
        values["world"] = json.loads(values["world"]) if values["world"] else {}
        values["beginning"] = json.loads(values["beginning"]) if values["beginning"] else None
        return StudyRecord.model_validate(values)
    except _DAMAGED as error:
        raise UnreadableError(str(row["name"]), "", error) from None


def read_deployers(text: str) -> list[PluginSpec]:
    """The column ``deployers`` of a row of ``studies``; empty if it is damaged."""
    try:
        return [PluginSpec.model_validate(one) for one in json.loads(text)]
    except _DAMAGED:
        return []


def read_evidence(row: Mapping[str, Any]) -> Evidence:
    """The column ``evidence`` of a row of ``studies``. Raises :class:`UnreadableError`."""
    try:
        return Evidence.model_validate_json(row["evidence"]) if row["evidence"] else NO_EVIDENCE
    except _DAMAGED as error:
        raise UnreadableError(str(row["name"]), "what earlier studies say about ", error) from None


def read_trial(study: str, text: str) -> Trial:
    """The column ``trial`` of a row of ``trials``. Raises :class:`UnreadableError`."""
    try:
        return Trial.model_validate_json(text)
    except ValueError as error:
        number = re.search(r'"number": ?(\d{1,9})', str(text))
        raise UnreadableError(study, f"trial {number[1]} of " if number else "a trial of ", error) from None


def read_event(row: Mapping[str, Any]) -> EventRecord:
    """One row of ``events``. Raises :class:`UnreadableError`."""
    try:
        return EventRecord.model_validate({**row, "data": json.loads(row["data"])})
    except _DAMAGED as error:
        raise UnreadableError(str(row["study"]), f"event {row['seq']} of ", error) from None
