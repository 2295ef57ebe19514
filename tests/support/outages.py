"""What goes wrong under a server on a cluster of our own, whatever made its pod."""

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
    """Ends a pod's first process as SIGKILL does, from outside of the pod."""
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _in_container(p, container)]
    os.kill(min(pids), signal.SIGKILL)


def _in_container(process: Path, container: str) -> bool:
    try:
        return container in (process / "cgroup").read_text()
    except OSError:
        return False


async def words_over_a_restart(cluster: OwnCluster, endpoint: Endpoint, labels: Labels, count: int) -> list[int]:
    """Numbers of the words that a load generator says, while the API server is killed under it and started again."""
    words = list[bytes]()
    order = json.dumps({"lines": count, "size": 200, "every": 0.02}).encode()
    async with endpoint.client.run("autotuner.testing.fake_worker", order, labels=labels) as lines:
        async for line in lines:
            words.append(line)
            if len(words) == 5:
                await run_sync(cluster.kill, Part.API_SERVER)
                await run_sync(cluster.restart, Part.API_SERVER)
    return [int(word.split()[0]) for word in words]


def runs(cluster: OwnCluster, part: Part) -> bool:
    """Whether a part is there."""
    try:
        cluster.pid(part)
    except KeyError:
        return False
    return True


def mend(cluster: OwnCluster) -> None:
    """Starts again what a test has killed."""
    for part in (Part.API_SERVER, Part.KUBELET):
        if not runs(cluster, part):
            cluster.restart(part)
