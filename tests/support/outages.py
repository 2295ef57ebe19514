"""Outages of a test cluster: killed containers, API server and kubelet."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from autotuner.plugins.deployer import Endpoint
from autotuner.study.launch import Labels
from support.labs.cluster import OwnCluster
from support.labs.cluster_parts import Part


def kill_first_process(pod: dict[str, Any]) -> None:
    """Kills a pod's first process from outside the pod."""
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _in_container(p, container)]
    os.kill(min(pids), signal.SIGKILL)


def _in_container(process: Path, container: str) -> bool:
    try:
        return container in (process / "cgroup").read_text()
    except OSError:
        return False


async def worker_output_over_a_restart(
    cluster: OwnCluster, endpoint: Endpoint, labels: Labels, count: int
) -> list[int]:
    """Numbers of the lines that a load generator prints while the API server is killed and restarted."""
    received = list[bytes]()
    order = json.dumps({"lines": count, "size": 200, "every": 0.02}).encode()
    async with endpoint.client.run("autotuner.testing.fake_worker", order, labels=labels) as lines:
        async for line in lines:
            received.append(line)
            if len(received) == 5:
                await run_sync(cluster.kill, Part.API_SERVER)
                await run_sync(cluster.restart, Part.API_SERVER)
    return [int(line.split()[0]) for line in received]


def runs(cluster: OwnCluster, part: Part) -> bool:
    """Whether a part of the cluster is running."""
    try:
        cluster.pid(part)
    except KeyError:
        return False
    return True


def restore(cluster: OwnCluster) -> None:
    """Restarts the parts that a test killed."""
    for part in (Part.API_SERVER, Part.KUBELET):
        if not runs(cluster, part):
            cluster.restart(part)
