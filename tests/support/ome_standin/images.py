"""Images of the stand-in's pods, as files for a node's image store."""

import io
import tarfile
from pathlib import Path

from support.labs.cluster_images import write_archive, write_busybox, write_simulated
from support.labs.python_image import environment, write_root

ENGINE = "lmsysorg/sglang:v0.5.23"
MANAGER = "ome/manager:v0.1.5"
GENAI_BENCH = "genai-bench:0.1.113"
SIMULATED = {"GPU": "H100", "SHAPE": "Llama-3.2-1B", "SPEED": "10"}
_PROGRAM = Path(__file__).with_name("fake_genai_bench.py")


def write_images(folder: Path, simulated: dict[str, str] | None = None) -> list[Path]:
    """Writes the images of engine, manager and benchmark; ``simulated``: settings of the simulator."""
    files = [folder / f"{name}.tar" for name in ("engine", "manager", "genai-bench")]
    write_simulated(files[0], [ENGINE], simulated or SIMULATED)
    write_busybox(files[1], [MANAGER])
    write_genai_bench(files[2], [GENAI_BENCH])
    return files


def write_genai_bench(path: Path, names: list[str]) -> None:
    """Writes an image with Python and ``genai-bench``."""
    layer = path.with_suffix(".layer")
    write_root(layer, "http.client")
    program = b"#!/usr/local/bin/python3\n" + _PROGRAM.read_bytes()
    with tarfile.open(layer, "a") as tar:
        entry = tarfile.TarInfo("usr/local/bin/genai-bench")
        entry.size = len(program)
        entry.mode = 0o755
        tar.addfile(entry, io.BytesIO(program))
    write_archive(path, layer, names, {"Env": [f"{name}={value}" for name, value in environment().items()]})
