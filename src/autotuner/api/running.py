"""Functions that start, follow, stop or remove a study."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

import anyio
from anyio.to_thread import run_sync

from autotuner.api.blocking import blocking
from autotuner.api.fleet.launched import targets
from autotuner.api.results import record_of
from autotuner.api.study_input import Study, loaded_study, placed_problems, site_settings
from autotuner.diagnosis import Diagnosis, of_study, of_target
from autotuner.errors import MissingExtraError, StudyBusyError, UsageError
from autotuner.events.follow import follow, read
from autotuner.events.types import Event, UnknownEvent
from autotuner.plugins import loading
from autotuner.report.result import StudyResult, study_result
from autotuner.store import Store
from autotuner.store.paths import study_folder
from autotuner.study.owner import CUT_OFF, RUNNING, Owner
from autotuner.study.spec import AUTO, PluginSpec, StudySpec
from autotuner.study_file.machine_settings import check_no_entries, parse_settings, with_deploy_settings
from autotuner.tuning.memory.gathering import check_without_store
from autotuner.tuning.planning.engines.prepared_engines import prepare
from autotuner.tuning.planning.plan import Plan, make_plan
from autotuner.tuning.planning.resume_decision import Standing, with_strategy
from autotuner.tuning.run_liveness import OwnerWatch, is_running, mark_ended, this_owner
from autotuner.tuning.study_session import Outcome, record_stop, run_session, standing_of

OnEvent = Callable[[Event], object]
OnAnyEvent = Callable[[Event | UnknownEvent], object]
_ALL = 1_000_000
"""Limit of events that are read at once, larger than any study has."""


async def tune(
    url: str | None,
    study: Study,
    *,
    source: str,
    handle_signals: bool,
    on_start: Callable[[Owner], object] | None,
    on_plan: Callable[[Plan], object] | None,
    on_event: OnEvent | None,
) -> StudyResult:
    """See :meth:`autotuner.api.client.Autotuner.tune_async`."""
    loaded = loaded_study(study)
    spec = await run_sync(_with_strategy, loaded.spec, url)
    with placed_problems(loaded):
        prepared = await prepare(spec)
    source = loaded.source or source or "python"
    with Store.open(url) as store:
        if on_plan is not None:
            found = await standing_of(prepared, store, source=source, named=loaded.named)
            on_plan(await make_plan(prepared, preflight=False, standing=found, site_prices=_site_prices()))

        async def work() -> Outcome:
            return await run_session(
                prepared,
                store,
                source=source,
                named=loaded.named,
                handle_signals=handle_signals,
                on_start=on_start or (lambda _: None),
            )

        outcome = await (work() if on_event is None else _with_events(work, store, loaded.spec.name, on_event))
        record = await run_sync(store.studies.get, loaded.spec.name)
        beginning = record.beginning if record is not None else None
        return study_result(
            spec,
            outcome.state,
            outcome.trials,
            why=outcome.why,
            beginning=beginning,
            findings=outcome.findings,
        )


async def _with_events(work: Callable[[], Any], store: Store, study: str, on_event: OnEvent) -> Outcome:
    """Runs ``work`` and passes each event of the study to the callback as it happens.

    An exception of the callback ends the study cleanly and is raised. Exceptions are not wrapped in a group.
    """
    outcome: Outcome | None = None
    errors = list[Exception]()
    seen = await run_sync(store.events.last_seq, study)

    def take(events: Sequence[Event | UnknownEvent]) -> None:
        nonlocal seen
        for event in events:
            seen = event.seq
            if not isinstance(event, UnknownEvent):  # this version writes no event that it does not know
                on_event(event)

    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            try:
                async for events in follow(store, study, after=seen):
                    take(events)
            except Exception as error:
                errors.append(error)
                tasks.cancel_scope.cancel()

        tasks.start_soon(listen)
        try:
            outcome = await work()
        except Exception as error:
            errors.append(error)
        tasks.cancel_scope.cancel()
    if not errors:
        take(await run_sync(lambda: read(store, study, after=seen, limit=_ALL)))
    if outcome is None or errors:
        raise errors[0]
    return outcome


def _with_strategy(spec: StudySpec, url: str | None, *, stored: bool = True) -> StudySpec:
    """The study with the strategy that ``auto`` stands for."""
    if spec.search.kind != AUTO or not stored or not Store.exists(url):
        return with_strategy(spec, None)
    with Store.open(url) as store:
        return with_strategy(spec, store.studies.get(spec.name))


def _site_prices() -> Collection[str]:
    return site_settings().get("prices", {}).keys()


def plan(url: str | None, study: Study, *, preflight: bool, source: str, stored: bool) -> Plan:
    """See :meth:`autotuner.api.client.Autotuner.plan`."""

    async def work() -> Plan:
        loaded = loaded_study(study)
        spec = await run_sync(lambda: _with_strategy(loaded.spec, url, stored=stored))
        with placed_problems(loaded):
            prepared = await prepare(spec, planning=True)
        found: Standing | None = None
        if stored and not Store.exists(url):
            check_without_store(prepared)
            found = Standing(state="new")
        elif stored:
            with Store.open(url) as store:
                found = await standing_of(prepared, store, source=loaded.source or source, named=loaded.named)
        return await make_plan(prepared, preflight=preflight, standing=found, site_prices=_site_prices())

    return blocking(work)


def doctor(
    url: str | None, study: Study | None, *, deploy: str, settings: Mapping[str, Any] | Sequence[str]
) -> Diagnosis:
    """See :meth:`autotuner.api.client.Autotuner.doctor`."""
    given = settings if isinstance(settings, Mapping) else parse_settings(settings)
    if study is not None:
        spec = loaded_study(study).spec
        changed = with_deploy_settings(spec, given)
        return blocking(lambda: of_study(changed, store_url=url))
    check_no_entries(given)
    site = site_settings().get("deploy", {}).get(deploy, {})
    target = PluginSpec.model_validate({**site, **given, "kind": deploy})
    return blocking(lambda: of_target(target, store_url=url))


async def watch(url: str | None, name: str, on_event: OnAnyEvent) -> str:
    """See :meth:`autotuner.api.client.Autotuner.watch_async`."""
    with Store.open(url) as store:
        study = record_of(store, name).name
        owners = OwnerWatch(store)

        def runs() -> bool:
            record = store.studies.get(study)
            return record is not None and is_running(record, owners.dead())

        async for events in follow(store, study):
            for event in events:
                on_event(event)
            # A killed run writes no final event, so whether its process lives decides when to stop waiting.
            if not events and not await run_sync(runs):
                break
        ended = store.studies.get(study)
        if ended is None:
            return "deleted"
        return CUT_OFF if ended.state == RUNNING else ended.state


async def stream(url: str | None, name: str, *, after: int) -> AsyncGenerator[Sequence[Event | UnknownEvent]]:
    """See :meth:`autotuner.api.client.Autotuner.stream`."""
    with await run_sync(Store.open, url) as store:
        async with aclosing(follow(store, name, after=after)) as batches:
            async for events in batches:
                if not events and not (await run_sync(store.studies.holder, name))[0]:
                    break
                yield events


def events(url: str | None, name: str, *, after: int) -> Sequence[Event | UnknownEvent]:
    """See :meth:`autotuner.api.stored.StoredStudies.events`."""
    if not Store.exists(url):
        return []
    with Store.open(url) as store:
        return read(store, name, after=after, limit=_ALL)


def start_over(url: str | None, name: str) -> str:
    """See :meth:`autotuner.api.client.Autotuner.start_over`."""
    if not Store.exists(url):
        return ""
    with Store.open(url) as store:
        record = store.studies.get(name)
        if record is None:
            return ""
        _refuse_if_running(store, record.name, record.owner_id)
        store.queue.remove(record.name, dead=(record.owner_id,) if record.owner_id else ())
        dated = f"{name[:47]}-{time.strftime('%Y%m%d-%H%M%S')}"
        store.studies.rename(name, dated)
    if study_folder(name).exists():
        study_folder(name).rename(study_folder(dated))
    return dated


def stop(url: str | None, name: str) -> bool:
    """See :meth:`autotuner.api.client.Autotuner.stop`."""
    with Store.open(url) as store:
        record = record_of(store, name)
        dead = OwnerWatch(store).dead()
        if store.queue.get(record.name) is not None and _stopped_in_queue(store, record.name, dead):
            return True
        if not is_running(record_of(store, record.name), dead):  # read again: a worker may just have taken it
            return False
        store.studies.request_stop(record.name)
        return True


def _stopped_in_queue(store: Store, name: str, dead: Collection[str]) -> bool:
    """Takes a study out of the queue unless a worker runs it, and records its end if a run of it had begun."""
    owner = this_owner()
    store.owners.register(owner)
    try:
        if store.studies.take(name, owner.id, time.time(), dead=dead) is not None:
            return False
        try:
            record_stop(store.held(name, owner.id), name)
        finally:
            store.studies.release(name, owner.id)
        return True
    finally:
        store.owners.end(owner.id, time.time())


def delete(url: str | None, name: str) -> None:
    """See :meth:`autotuner.api.client.Autotuner.delete`."""
    with Store.open(url) as store:
        stored, holder = store.studies.holder(name)  # works even if the study's row cannot be read
        if not stored:
            record = record_of(store, name)
            name = record.name
            holder = record.owner_id
        _refuse_if_running(store, name, holder)
        store.studies.delete(name)
    shutil.rmtree(study_folder(name), ignore_errors=True)


def _refuse_if_running(store: Store, name: str, holder: str | None) -> None:
    if holder is not None and holder not in blocking(lambda: OwnerWatch(store).settled({holder})):
        raise StudyBusyError.running(name, f"stop it first: autotuner stop {name}")


def reap(url: str | None, *, study: str | None) -> list[str]:
    """See :meth:`autotuner.api.client.Autotuner.reap`."""

    async def work() -> list[str]:
        dead = await OwnerWatch(store).settled()
        lines = list[str]()
        for spec in targets(store.studies.deployers()):
            # A stored study may have settings that no longer exist, or a deployer that is not installed here.
            with suppress(UsageError, MissingExtraError):
                lines += await loading.deployer(spec).reap(dead.__contains__, study=study)
        for record in store.studies.all():
            if study is None or record.name == study:
                for trial in store.trials.void_owned_by(dead, record.name, time.time()):
                    lines.append(f"{record.name} trial {trial.number}: marked void")
        if study is None:  # otherwise servers of other studies may still use what their dead owners leased
            for owner in dead:
                store.leases.release_all(owner)
            mark_ended(store, dead)
        return lines

    with Store.open(url) as store:
        return blocking(work)
