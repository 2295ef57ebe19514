"""Faults of the stand-in: their effect on clients, and their end."""

import json

import pytest

from support.labs.cluster import OwnCluster
from support.ome_standin import OmeStandIn
from support.ome_standin.agent import DAEMON_SET
from support.ome_standin.images import MANAGER
from support.ome_standin.lab import LABEL, Lab, eventually
from support.ome_standin.sample_objects import MODEL, model

pytestmark = [pytest.mark.cluster, pytest.mark.campaign]

READY_LABEL = f"models.ome.io/clusterbasemodel.{MODEL}"


@pytest.mark.parametrize(("fault", "reason"), [("down", "connection refused"), ("x509", "x509: certificate")])
def test_unreachable_webhooks(lab: Lab, ome: OmeStandIn, fault: str, reason: str) -> None:
    with ome.fault(webhook=fault):
        # the API server keeps using an open connection
        answer = eventually(lambda: (a := lab.post(lab.service("early"), dryRun="All")).status_code == 500 and a)
        assert "failed calling webhook" in answer.json()["message"]
        assert reason in answer.json()["message"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": lab.namespace}}
        pod |= {"spec": {"containers": [{"name": "c", "image": MANAGER}]}}
        assert lab.post(pod, dryRun="All").status_code == 201, "the webhook only handles pods of services"
        pod["metadata"]["labels"] = {LABEL: "x"}
        assert lab.post(pod, dryRun="All").status_code == 500
    eventually(lambda: lab.post(lab.service("early"), dryRun="All").status_code == 201)


def test_stopped_controller(lab: Lab, ome: OmeStandIn) -> None:
    with ome.fault(controller_stopped=True):
        uid = lab.created(lab.service("waits"))
        lab.created(model(ome.settings.model_path, name=f"beside-{lab.namespace}"))
        eventually(
            lambda: lab.get("ClusterBaseModel", f"beside-{lab.namespace}").get("status"), "the agent is still running"
        )
        assert lab.events(uid) == []
        assert not lab.all("Deployment")
    eventually(lambda: lab.get("InferenceService", "waits").get("status"))
    lab.delete("ClusterBaseModel", f"beside-{lab.namespace}")


def test_delayed_status(lab: Lab, ome: OmeStandIn) -> None:
    """The Deployment is available before the service's status shows it."""
    with ome.fault(slow_status_s=2.0):
        lab.created(lab.service("slow"))

        def available() -> bool:
            return bool(lab.get("Deployment", "slow-engine").get("status", {}).get("availableReplicas"))

        eventually(available)
        assert lab.condition("slow", "Ready")[0] != "True"
    eventually(lambda: lab.ready("slow"))


def test_model_agent(lab: Lab, ome: OmeStandIn, ome_cluster: OwnCluster) -> None:
    labels = ome_cluster.api("GET", f"/api/v1/nodes/{ome_cluster.node}").json()["metadata"]["labels"]
    assert labels[READY_LABEL] == "Ready"
    config = ome_cluster.api("GET", f"/api/v1/namespaces/ome/configmaps/{ome_cluster.node}").json()
    assert json.loads(config["data"][f"clusterbasemodel.{MODEL}"])["status"] == "Ready"
    uris = {
        "local:///no/such/folder": "Failed",
        "pvc://claim/sub": "In_Transit",
        "s3://bucket/x": "Failed",
        "vendor://v/type/path": "Ready",
        "hf://org/model": "Ready",
    }
    for number, (uri, state) in enumerate(uris.items()):
        name = f"m{number}-{lab.namespace}"
        lab.created(model("/x", name=name, storage={"storageUri": uri, "path": "/x"}))
        eventually(lambda name=name, state=state: status(lab, name).get("state") == state, uri)  # type: ignore[misc]
        nodes = {"Ready": [ome_cluster.node]}.get(state, [])
        assert status(lab, name)["nodesReady"] == nodes
        lab.delete("ClusterBaseModel", name)
        eventually(lambda name=name: not lab.get("ClusterBaseModel", name))  # type: ignore[misc]


def status(lab: Lab, name: str) -> dict[str, object]:
    return dict(lab.get("ClusterBaseModel", name).get("status") or {})


def test_crashing_agent_and_a_model_in_transit(lab: Lab, ome: OmeStandIn, ome_cluster: OwnCluster) -> None:
    """The model is served if the node has its label."""
    name = f"transit-{lab.namespace}"
    label = f"models.ome.io/clusterbasemodel.{name}"
    with ome.fault(agent="crash"):
        lab.created(model(ome.settings.model_path, name=name))
        lab.patch("Node", ome_cluster.node, {"metadata": {"labels": {label: "Ready"}}}).raise_for_status()
        reference = {"name": name, "kind": "ClusterBaseModel"}
        eventually(lambda: lab.post(lab.service("served", model=reference), dryRun="All").status_code == 201)
        lab.created(lab.service("served", model=reference))
        eventually(lambda: lab.ready("served"))
        assert status(lab, name) == {"state": "In_Transit", "nodesReady": [], "nodesFailed": []}
        pods = f"/api/v1/namespaces/ome/pods?labelSelector=app.kubernetes.io/component={DAEMON_SET}"
        eventually(lambda: '"exitCode":1,' in ome_cluster.api("GET", pods).text, "the agent's pod has ended")
        ended = [p for p in ome_cluster.api("GET", pods).json()["items"] if "deletionTimestamp" not in p["metadata"]]
        log = f"/api/v1/namespaces/ome/pods/{ended[0]['metadata']['name']}/log"
        assert "couldn't find shape" in ome_cluster.api("GET", log).text
        lab.delete("InferenceService", "served")
        eventually(lambda: not lab.get("InferenceService", "served"))
        lab.delete("ClusterBaseModel", name)
    eventually(lambda: not lab.get("ClusterBaseModel", name), "its finalizer is removed by the agent")
    eventually(lambda: label not in lab.get("Node", ome_cluster.node)["metadata"]["labels"])


def test_unknown_fault(ome: OmeStandIn) -> None:
    with pytest.raises(ValueError, match="webhok"):
        ome.set(webhok="down")
    assert ome.set()["webhook"] == "up"


def test_installed_objects(ome: OmeStandIn, ome_cluster: OwnCluster) -> None:
    """Objects that a preflight check reads."""
    manager = ome_cluster.api("GET", "/apis/apps/v1/namespaces/ome/deployments/ome-controller-manager").json()
    assert manager["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2] == "v0.1.5"
    assert manager["status"]["readyReplicas"] == 1
    config = ome_cluster.api("GET", "/api/v1/namespaces/ome/configmaps/inferenceservice-config").json()
    assert json.loads(config["data"]["ingress"])["disableIngressCreation"] is True
    resources = ome_cluster.api("GET", "/apis/ome.io/v1beta1").json()["resources"]
    with_status = {one["name"].partition("/")[0] for one in resources if one["name"].endswith("/status")}
    without = {one["name"] for one in resources if "/" not in one["name"]} - with_status
    assert without == {"servingruntimes", "clusterservingruntimes"}
    header = ome_cluster.kubectl("get", "clusterbasemodels").split("\n")[0].split()
    assert header[:4] == ["NAME", "DISABLED", "VERSION", "VENDOR"]
    assert header[-2:] == ["READY", "AGE"]


def test_with_ingress_enabled(lab: Lab, ome: OmeStandIn, ome_cluster: OwnCluster) -> None:
    """A Service with the service's name is deleted, whoever created it, and the address still refers to it."""
    own = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "public", "namespace": lab.namespace}}
    lab.created({**own, "spec": {"ports": [{"port": 80}]}})
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inferenceservice-config"}}
    for enabled in (True, False):
        data = {"ingress": json.dumps({"disableIngressCreation": not enabled})}
        ome_cluster.kubectl("apply", "-n", "ome", "-f", "-", stdin=json.dumps({**config, "data": data}))
        if enabled:
            lab.created(lab.service("public"))
            eventually(lambda: lab.condition("public", "IngressReady") == ("False", "ComponentNotReady"))
            assert "url" not in lab.get("InferenceService", "public")["status"]
            eventually(lambda: lab.ready("public"))
    host = f"http://public.{lab.namespace}.svc.cluster.local"
    assert lab.get("InferenceService", "public")["status"]["address"] == {"url": host}
    assert lab.get("Ingress", "public")
    assert not lab.get("Service", "public")


def test_killed_stand_in_is_removed_and_restarted(lab: Lab, ome: OmeStandIn) -> None:
    """A service with a finalizer is removed as well."""
    lab.created(lab.service("orphan"))
    eventually(lambda: lab.get("InferenceService", "orphan")["metadata"].get("finalizers"))
    ome.kill()
    assert "failed calling webhook" in lab.post(lab.service("late")).text
    ome.stop()
    assert lab.post(lab.service("late")).status_code == 404
    ome.start()
    assert lab.get("InferenceService", "orphan") == {}
    lab.created(lab.service("late"))
    eventually(lambda: lab.get("Deployment", "late-engine"))
