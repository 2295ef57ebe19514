"""Dashboard, alert rules and the page about metrics name what `/metrics` of a server has."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from autotuner.store import Store
from autotuner.store.records import WorkerRecord
from autotuner.tuning.run_liveness import this_owner
from support.stored_samples import store_sample

Clients = Callable[[str], httpx.Client]
ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "packaging" / "monitoring"
OF_THE_SCRAPER = {"job", "instance"}
"""Labels that Prometheus adds."""
NAME = re.compile(r"\b(?:autotuner|process)_\w+")
SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def stem(name: str) -> str:
    """The name of a histogram from those of its samples."""
    return re.sub(r"_(bucket|count|sum)$", "", name)


@pytest.fixture
def labels(client: Clients, home: Path) -> dict[str, set[str]]:
    """By name of each sample that a server with all kinds of them has: its labels."""
    sample = store_sample("winner", owner=this_owner())
    with Store.open() as store:
        store.studies.set_state(sample.spec.name, "running", None, 0.0)
        store.workers.register(WorkerRecord(id="w1", host="node-1", pid=1, at_most=3, lease_s=20))
    reader = client("read")
    reader.get("/healthz")
    found = dict[str, set[str]]()
    for family in text_string_to_metric_families(reader.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load((FOLDER / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def queries() -> Iterator[str]:
    """All expressions in PromQL."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]
    for rule in rules():
        yield rule["expr"]


def test_queries_name_metrics_and_labels_that_exist(labels: dict[str, set[str]]) -> None:
    found = list(queries())
    assert len(found) > 25
    for query in found:
        names = set(NAME.findall(query))
        assert names - labels.keys() == set(), query
        for name, matchers in SELECTOR.findall(query):
            known = labels[name] if name != "up" else set()
            assert set(LABEL.findall(matchers)) <= known | OF_THE_SCRAPER, query
        grouped = {label.strip() for group in GROUPING.findall(query) for label in group.split(",")}
        assert grouped <= {label for name in names for label in labels[name]} | OF_THE_SCRAPER, query


def test_the_dashboard_shows_every_metric_of_ours(labels: dict[str, set[str]]) -> None:
    used = {name for query in queries() for name in NAME.findall(query)}
    kinds = ("_bucket", "_count", "_sum")
    stems = {re.sub("|".join(f"{kind}$" for kind in kinds), "", name) for name in used}
    ours = {
        re.sub("|".join(f"{kind}$" for kind in kinds), "", name) for name in labels if name.startswith("autotuner_")
    }
    assert ours - stems == set()


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    found = dashboard()
    assert found["schemaVersion"] >= 39
    assert {"title", "uid", "tags", "panels", "templating", "time", "refresh", "timezone", "version"} <= found.keys()
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set[tuple[int, int]]()
    for panel in panels:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    variables = {variable["name"] for variable in found["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(found))) - {"__rate_interval", "__all"}
    assert used == variables


def test_every_alert_says_what_it_means() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_page_lists_the_metrics_of_the_server(labels: dict[str, set[str]], client: Clients) -> None:
    page = (ROOT / "docs/reference/server-metrics.md").read_text()
    rows = re.findall(r"^\| `(autotuner_\w+)` \| (\w+) \|([^|]*)\|", page, re.MULTILINE)
    listed = {name: (kind, set(re.findall(r"`(\w+)`", text))) for name, kind, text in rows}
    assert len(listed) == len(rows)
    of_stems = dict[str, set[str]]()
    for name, found in labels.items():
        of_stems.setdefault(stem(name), set()).update(found - {"le"})
    families = text_string_to_metric_families(client("read").get("/metrics").text)
    kinds = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}
    assert listed == {name: (kind, of_stems[name]) for name, kind in kinds.items() if name.startswith("autotuner_")}
