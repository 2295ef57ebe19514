"""Settings of a machine: defaults for deployers, benchmarks and prices of every study that runs on it.

Model folders, a Docker engine's address or limits that a host rejects do not belong in a study file, and an older task
JSON cannot hold them.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from autotuner.errors import UsageError, did_you_mean
from autotuner.invalid_value import InvalidValueError
from autotuner.scoring.cost import same_kind
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.study_file.form_fields import checked_kinds, price
from autotuner.study_file.located_document import Document, read_text

Site = Mapping[str, Mapping[str, Any]]
"""Settings by section of a study file and kind: ``{"deploy": {"docker": {..}}}``."""
_PRICES = "prices"
_ALLOW = "allow"
_ALLOWED = ("env", "images", "flags", "settings")
"""What the site file may allow clients of the server that are not administrators, each with patterns of names."""
_NETWORKS = "webhooks"
"""Networks that webhooks may reach though they are private."""
_SECTIONS = {"deploy": "docker: {..}", "benchmark": "genai_bench: {..}"}
"""Sections of a site file, each with an example."""


def parse_site(text: str, source: str) -> Site:
    """The content of a site file: ``deploy: {docker: {model_roots: [/data/models]}}``. Raises :class:`UsageError`."""
    document = read_text(text, source)
    data = document.data
    if not isinstance(data, dict):
        document.fault((), "must be a mapping", remedy="write deploy: {docker: {..}}")
        raise UsageError(document.problems)
    for section, found in data.items():
        if section in _SECTIONS:
            _check(document, section, found)
        elif section == _PRICES:
            _check_prices(document, found)
        elif section == _ALLOW:
            _check_allowed(document, found)
        else:
            document.fault((section,), "unknown key", remedy=did_you_mean(section, [*_SECTIONS, _PRICES, _ALLOW]))
    if document.problems:
        raise UsageError(document.problems)
    return {section: dict(found) for section, found in data.items()}


def _check(document: Document, section: str, found: Any) -> None:
    if not isinstance(found, dict):
        remedy = f"write {section}: {{{_SECTIONS[section]}}}"
        document.fault((section,), "must be a mapping of kinds", value=found, remedy=remedy)
        return
    for kind, settings in found.items():
        if not isinstance(settings, dict):
            document.fault((section, kind), "must be a mapping of settings", value=settings)
        elif "kind" in settings:
            document.fault((section, kind, "kind"), "is given by the key above", remedy="remove it")


def _check_allowed(document: Document, found: Any) -> None:
    if not isinstance(found, dict):
        document.fault((_ALLOW,), "must be a mapping", value=found, remedy="write allow: {env: [HF_HUB_OFFLINE]}")
        return
    for kind, patterns in found.items():
        if kind not in (*_ALLOWED, _NETWORKS):
            document.fault((_ALLOW, kind), "unknown key", remedy=did_you_mean(kind, [*_ALLOWED, _NETWORKS]))
        elif not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            document.fault((_ALLOW, kind), "must be a list of names", value=patterns, remedy=f"write {kind}: [NAME]")
        elif kind == _NETWORKS:
            for text in patterns:
                if not _networks([text]):
                    document.fault((_ALLOW, kind), "is not a network", value=text, remedy="write [10.0.0.0/8]")


def webhook_networks(site: Site) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks that webhooks may reach, besides the public Internet."""
    return _networks(site.get(_ALLOW, {}).get(_NETWORKS, ()))


def _networks(texts: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            return []
    return found


def _check_prices(document: Document, found: Any) -> None:
    if not isinstance(found, dict):
        document.fault((_PRICES,), "must be a mapping", value=found, remedy="write prices: {H100: 2.49}")
        return
    for kind, written in found.items():
        try:
            checked_kinds({kind: price(written)})
        except InvalidValueError as error:
            document.fault((_PRICES, kind), error.why, value=written, remedy=error.remedy)
            return
    try:
        checked_kinds(found)
    except InvalidValueError as error:
        document.fault((_PRICES,), error.why, remedy=error.remedy)


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings given on the command line, such as ``namespace=tuning``, with values as in a study file.

    Raises:
        UsageError: If a text is not ``KEY=VALUE``.
    """
    found = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name or name == "kind":
            raise UsageError.at("--set", "is not a setting", value=assignment, remedy="write KEY=VALUE")
        found[name] = read_text(text, f"--set {name}").data if text.strip() else text
    return found


_OF_ENTRY = re.compile(r"engines\[(\d+)\]\.deploy\.(.+)")


def with_deploy_settings(spec: StudySpec, settings: Mapping[str, Any]) -> StudySpec:
    """The study with settings of its deployers that override all others: ``KEY`` for the deployers of all engines,
    ``engines[1].deploy.KEY`` for that of one entry.

    Raises:
        UsageError: If a setting names no entry, or several kinds of deployers.
    """
    of_all = {key: value for key, value in settings.items() if not _OF_ENTRY.fullmatch(key)}
    kinds = list(dict.fromkeys(d.kind for d in spec.deployers))
    if of_all and len(kinds) > 1:
        key = next(iter(of_all))
        why = f"the engines have different deployers ({', '.join(kinds)})"
        raise UsageError.at(f"--set {key}", why, remedy=f"name the entry: engines[0].deploy.{key}=..")
    found = spec.deployed(lambda d: _with(d, of_all))
    entries = list(found.engines)
    for key in (key for key in settings if key not in of_all):
        index, name = _entry_of(key)
        if index >= len(entries):
            count = f"{len(entries)} entries" if entries else "no engines"
            remedy = f"write {name}=.." if not entries else f"write engines[0] to engines[{len(entries) - 1}]"
            raise UsageError.at(f"--set {key}", f"the study has {count}", remedy=remedy)
        changed = _with(entries[index].deploy, {name: settings[key]})
        entries[index] = entries[index].model_copy(update={"deploy": changed})
    deploy = entries[0].deploy if entries else found.deploy
    return found.model_copy(update={"deploy": deploy, "engines": tuple(entries)})


def check_no_entries(settings: Mapping[str, Any]) -> None:
    """Refuses settings of an entry of ``engines`` where there is no study. Raises :class:`UsageError`."""
    for key in filter(_OF_ENTRY.fullmatch, settings):
        _, name = _entry_of(key)
        raise UsageError.at(f"--set {key}", "there is no study", remedy=f"name its file, or write {name}=..")


def _entry_of(key: str) -> tuple[int, str]:
    index, _, name = key.removeprefix("engines[").partition("].deploy.")
    return int(index), name


def _with(deploy: PluginSpec, settings: Mapping[str, Any]) -> PluginSpec:
    return PluginSpec.model_validate({**deploy.settings, **settings, "kind": deploy.kind})


def with_site(spec: StudySpec, site: Site, source: str) -> tuple[StudySpec, list[str]]:
    """The study with the site's settings as defaults, and one note per section about which were used."""
    notes = list[str]()

    def filled(section: str, given: PluginSpec) -> PluginSpec:
        defaults = site.get(section, {}).get(given.kind, {})
        added = [name for name in defaults if name not in given.settings]
        if not added:
            return given
        notes.append(f"{section}: {', '.join(added)} from {source}")
        return PluginSpec.model_validate({**defaults, **given.settings, "kind": given.kind})

    spec = spec.deployed(partial(filled, "deploy"))
    changes: dict[str, Any] = {"benchmark": filled("benchmark", spec.benchmark)}
    prices = site.get(_PRICES, {})
    if added := [kind for kind in prices if not any(same_kind(kind, own) for own in spec.prices)]:
        changes[_PRICES] = {**{kind: prices[kind] for kind in added}, **spec.prices}
        notes.append(f"{_PRICES}: {', '.join(added)} from {source}")
    return spec.model_copy(update=changes), list(dict.fromkeys(notes))
