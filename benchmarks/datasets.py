"""Time and memory to open a large dataset and to prepare the rows of a window.

    python benchmarks/datasets.py [--rows 1000000] [--file FILE]

Without ``--file``, a ShareGPT file of that many conversations (about 1.5 GB per million) is written to a temporary
folder first. CPU time is printed beside wall time, since other processes and the disk affect only the latter.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TypeVar

from autotuner.benchmarks.loadgen.prompt_words import WORDS
from autotuner.benchmarks.measuring.datasets.datasets import read_dataset
from autotuner.benchmarks.measuring.datasets.row_pool import RowPool, ServerRows

T = TypeVar("T")
WINDOW_ROWS = 10_000


def conversations(count: int) -> Iterator[str]:
    rng = Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(10, 230))) + ' "quoted"\n' for _ in range(3000)]
    for number in range(count):
        turns = [{"from": who, "value": f"{rng.choice(texts)} {number}"} for who in ("human", "gpt")]
        yield json.dumps({"id": str(number), "conversations": turns})


def write_sharegpt(path: Path, count: int) -> None:
    with path.open("w") as file:
        file.write("[")
        file.writelines((",\n" if number else "") + text for number, text in enumerate(conversations(count)))
        file.write("]")


def timed(what: str, work: Callable[[], T]) -> T:
    wall = time.perf_counter()
    cpu = time.process_time()
    found = work()
    wall = time.perf_counter() - wall
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:36} {wall:8.1f} s wall {cpu:8.1f} s CPU   peak {peak:6.0f} MiB", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="conversations of the file that is written")
    parser.add_argument("--file", type=Path, help="measure this dataset instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.file or Path(folder) / "sharegpt.json"
        if args.file is None:
            write_sharegpt(path, args.rows)
        print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB")
        dataset = timed("open (index and check every row)", lambda: read_dataset(str(path)))
        print(f"{len(dataset.rows)} rows")
        pool = timed("order", lambda: RowPool(dataset, "0"))
        server = ServerRows()
        draw = timed(f"rows of a window ({WINDOW_ROWS})", lambda: pool.draw(server, WINDOW_ROWS))
        pool.settle(draw, server, len(draw.rows))
        timed(f"rows of the next ({WINDOW_ROWS})", lambda: pool.draw(server, WINDOW_ROWS))


if __name__ == "__main__":
    main()
