"""The manifest of a server in a cluster, checked by a real API server."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

pytestmark = [pytest.mark.cluster]

MANIFEST = Path(__file__).parents[3] / "packaging" / "server" / "kubernetes.yaml"


def test_a_namespace_with_the_strictest_rules_accepts_the_server(kube: Any) -> None:
    name = f"server-{uuid4().hex[:8]}"
    rules = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    body = {"metadata": {"name": name, "labels": rules}}
    kube.cluster.api("POST", "/api/v1/namespaces", json=body).raise_for_status()
    try:
        text = MANIFEST.read_text().replace("namespace: autotuner", f"namespace: {name}")
        arguments = ("apply", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-")
        accepted = kube.cluster.kubectl(*arguments, stdin=text)
    finally:
        kube.cluster.api("DELETE", f"/api/v1/namespaces/{name}")
    kinds = [line.partition("/")[0] for line in accepted.split()]
    assert kinds == ["deployment.apps", "service", "statefulset.apps"]
