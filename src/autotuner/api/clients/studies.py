"""Studies that clients of the server create, edit and start."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotuner.api import results, running
from autotuner.api.blocking import blocking
from autotuner.api.clients.policy import Policy
from autotuner.api.fleet.submission_check import refuse_other_study
from autotuner.api.fleet.submitting import refuse_secrets, submit
from autotuner.api.study_input import canonical_of, on_this_site, site_settings, valid_name
from autotuner.diagnosis import Diagnosis
from autotuner.errors import StudyBusyError, UsageError
from autotuner.plugins import loading
from autotuner.report.overview import StudyOverview
from autotuner.secrets import HIDDEN, remember
from autotuner.store import Store, StudyRecord
from autotuner.store.paths import data_home
from autotuner.store.records import QueueEntry
from autotuner.study.base import FrozenModel
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.study_file.loader import LoadedStudy, parse_study
from autotuner.study_file.writer import render_study
from autotuner.tuning.planning.plan import Plan
from autotuner.tuning.run_liveness import OwnerWatch

StudyText = str | Mapping[str, Any]
"""A study file's text (YAML or JSON), or its content."""
_OWN_FOLDERS = ("models", "datasets")
"""Folders of the data directory whose files clients may name in any case."""


class CheckedStudy(FrozenModel):
    """A study that is valid, and that the client may start."""

    name: str
    notes: tuple[str, ...]
    """What the client should know about how the study was read."""
    spec: StudySpec
    file: str
    """The study as the text of a study file, also if it was given as an older task."""


class ClientStudies:
    """The studies of one store for one client of the server. Create it with :meth:`Autotuner.client_studies`."""

    def __init__(self, store: str | None, *, roots: Sequence[Path], trusted: bool, by: str) -> None:
        """For a client that may name files under ``roots``; ``trusted``: it is an administrator; ``by``: its name."""
        self._url = store
        self._roots = roots
        self._trusted = trusted
        self._by = by

    def validate(self, study: StudyText) -> CheckedStudy:
        """Check a study. Nothing is stored or started.

        Args:
            study: The study.

        Returns:
            The study as it was read.

        Raises:
            UsageError: If it is wrong, holds a secret, or names what the client may not.
        """
        loaded = self._read(study)
        refuse_secrets(loaded.spec)
        return CheckedStudy(name=loaded.spec.name, notes=loaded.notes, spec=loaded.spec, file=render_study(loaded.spec))

    def plan(self, study: StudyText, *, preflight: bool = False) -> Plan:
        """Plan a study, as :meth:`Autotuner.plan` does. Nothing is stored or started.

        Args:
            study: The study.
            preflight: Check the server's machine and its deployment target as well.

        Returns:
            The plan.

        Raises:
            UsageError: If the study is wrong, or names what the client may not.
        """
        loaded = on_this_site(self._read(study))
        return running.plan(self._url, loaded, preflight=preflight, source="", stored=True)

    def create(self, study: StudyText) -> StudyOverview:
        """Store a new study. It runs once it is started.

        Args:
            study: The study.

        Returns:
            The stored study.

        Raises:
            UsageError: If it is wrong, names what the client may not, or has the name of a stored one.
        """
        loaded = self._read(study)
        refuse_secrets(loaded.spec)
        return self._create(loaded.spec)

    def edit(self, name: str, study: StudyText) -> StudyOverview:
        """Change a stored study, under the rules that apply when an edited file is run again.

        A study with results changes when it is started the next time; one in the queue keeps its place.

        Args:
            name: Name of the study.
            study: The whole study, under the same name.

        Returns:
            The stored study.

        Raises:
            UsageError: If it is wrong, names what the client may not, or would not measure what its results did.
            StudyBusyError: If it is running.
        """
        loaded = self._read(study)
        spec = loaded.spec
        if spec.name != name:
            remedy = "a study keeps its name; clone it to have it under another one"
            raise UsageError.at("name", f"is not {name}", value=spec.name, remedy=remedy)
        refuse_secrets(spec)
        with Store.open(self._url) as store:
            record = self._record(store, name)
            dead = blocking(lambda: OwnerWatch(store).settled(_holders(record)))
            if record.owner_id is not None and record.owner_id not in dead:
                raise StudyBusyError.running(name, f"stop it first: autotuner stop {name}")
            ran = any(trial.state.finished for trial in store.trials.all(name))
            refuse_other_study(record, spec, results=ran, source="", named=True)
            if ran:
                store.studies.set_draft(name, spec)
            else:
                store.studies.update_spec(name, spec, digest=spec.digest, source=record.source)
            queued = store.queue.get(name)
            if queued is not None:
                store.queue.add(
                    spec, source=record.source, named=True, priority=queued.priority, by=queued.submitted_by, dead=dead
                )
        return results.overview(self._url, name)

    def clone(self, name: str, new: str) -> StudyOverview:
        """Store a study like another one, without its results.

        Args:
            name: Name of the study to copy.
            new: Name of the new one.

        Returns:
            The new study.

        Raises:
            UsageError: If the new name is not valid or taken, or the study's secrets are not stored.
        """
        valid_name(new, where="name")
        with Store.open(self._url) as store:
            spec = self._startable(store, name)
        return self._create(spec.model_copy(update={"name": new}))

    def start(self, name: str, *, priority: int = 0) -> QueueEntry:
        """Put a stored study into the queue. It resumes if it has results.

        Args:
            name: Name of the study.
            priority: As for :meth:`Autotuner.submit`.

        Returns:
            Its entry in the queue.

        Raises:
            UsageError: If its secrets are not stored.
            StudyBusyError: If it is running.
        """
        with Store.open(self._url) as store:
            source = self._record(store, name).source
            spec = self._startable(store, name)
        loaded = LoadedStudy(spec, source=source)
        return submit(self._url, loaded, priority=priority, by=self._by, source=source)

    def file(self, name: str) -> str:
        """The study file of a stored study, as it will run when it is started.

        Args:
            name: Name of the study.

        Returns:
            YAML; secrets are masked.

        Raises:
            UsageError: If the study is not stored.
        """
        with Store.open(self._url) as store:
            return render_study(store.studies.draft(name) or self._record(store, name).spec)

    def deployers(self) -> list[str]:
        """The kinds of deployers whose targets can be checked.

        Returns:
            The server's own machine first; also deployers whose packages are not installed.
        """
        return sorted(loading.kinds("deployers"), key=lambda kind: (kind != "process", kind))

    def doctor(self, deploy: str, settings: Mapping[str, Any] | None = None) -> Diagnosis:
        """Check the server's machine and a deployment target, as :meth:`Autotuner.doctor` does. Nothing is started.

        Args:
            deploy: Kind of deployer.
            settings: Its settings, which override those of the server's site file.

        Returns:
            All checks.

        Raises:
            UsageError: If a setting is wrong, or one that the client may not choose.
        """
        given = dict(settings or {})
        remember(given)
        self._policy().permit_target(PluginSpec.model_validate({**given, "kind": deploy}))
        return running.doctor(self._url, None, deploy=deploy, settings=given)

    def doctor_for(self, study: StudyText) -> Diagnosis:
        """Check the server's machine and everything that a study needs. Nothing is stored or started.

        Args:
            study: The study.

        Returns:
            All checks.

        Raises:
            UsageError: If the study is wrong, or names what the client may not.
        """
        return running.doctor(self._url, on_this_site(self._read(study)), deploy="process", settings={})

    def doctor_of(self, name: str) -> Diagnosis:
        """Check the server's machine and everything that a stored study needs. Nothing is started.

        Args:
            name: Name of the study.

        Returns:
            All checks.

        Raises:
            UsageError: If the study is not stored, or its secrets are not.
        """
        with Store.open(self._url) as store:
            spec = self._startable(store, name)
        return running.doctor(self._url, on_this_site(LoadedStudy(spec)), deploy="process", settings={})

    def _policy(self) -> Policy:
        roots = [*self._roots, *(data_home() / folder for folder in _OWN_FOLDERS)]
        return Policy(roots, trusted=self._trusted, allow=site_settings().get("allow", {}))

    def _read(self, study: StudyText) -> LoadedStudy:
        """The study, if the client may submit it. No path in it is looked up before that was checked."""
        loaded = parse_study(study, source="study", folder=Path("/"), canonical_of=canonical_of)
        if not loaded.named:
            raise UsageError.at("name", "missing", remedy="give the study a name")
        return LoadedStudy(self._policy().permitted(loaded.spec), notes=loaded.notes, source="")

    def _create(self, spec: StudySpec) -> StudyOverview:
        with Store.open(self._url) as store:
            if store.studies.holder(spec.name)[0]:
                remedy = "edit that one, or choose another name"
                raise UsageError.at("name", "a study with this name is stored already", value=spec.name, remedy=remedy)
            store.studies.create(spec, source=self._by, digest=spec.digest, now=time.time())
        return results.overview(self._url, spec.name)

    def _record(self, store: Store, name: str) -> StudyRecord:
        record = store.studies.get(name)
        return results.record_of(store, name) if record is None else record

    def _startable(self, store: Store, name: str) -> StudySpec:
        spec = store.studies.draft(name) or self._record(store, name).spec
        if HIDDEN in spec.model_dump_json():
            remedy = "run it from its file, or edit it so that the workers' environment provides them"
            raise UsageError.at("study", "its secrets are not stored, so only its file can start it", remedy=remedy)
        return spec


def _holders(record: StudyRecord) -> tuple[str, ...]:
    return () if record.owner_id is None else (record.owner_id,)
