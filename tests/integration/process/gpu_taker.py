"""Process that leases GPUs repeatedly, and marks each with a file while it holds it.

Arguments: store URL, folder of the marks, GPUs of the machine, GPUs to lease, repetitions. The exit code is 1 if a GPU
was already marked.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from autotuner.store import Store
from autotuner.study.launch import Gpu
from autotuner.testing.fake_deployer import fake_gpus
from autotuner.tuning.run_liveness import OwnerWatch, this_owner
from autotuner.tuning.trials import gpu_and_port_leases


async def main(url: str, folder: Path, machine: int, count: int, times: int) -> None:
    gpu_and_port_leases.POLL_S = 0.002
    owner = this_owner()

    async def look() -> Sequence[Gpu]:
        return fake_gpus(machine)

    with Store.open(url) as store:
        store.owners.register(owner, time.time())
        for number in range(times):
            mine = gpu_and_port_leases.Leases(
                store, owner_id=owner.id, study=f"s{count}", trial=number, dead=OwnerWatch(store).dead
            )
            async with mine.gpus(count, look) as held:
                if len(held) != count:
                    sys.exit(f"{count} requested, {len(held)} leased")
                for gpu in held:
                    os.close(os.open(folder / gpu.uuid, os.O_CREAT | os.O_EXCL))
                await anyio.sleep(0.001)
                for gpu in held:
                    (folder / gpu.uuid).unlink()
        store.owners.end(owner.id, time.time())


anyio.run(main, sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
