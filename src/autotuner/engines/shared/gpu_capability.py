"""Compute capability of NVIDIA GPUs by name, to find out before a launch what a GPU cannot run.

Source: NVIDIA's table of CUDA GPUs (developer.nvidia.com/cuda-gpus). GPUs that are not listed pass every check.
"""

import re

_BY_NAME: tuple[tuple[str, float], ...] = (
    (r"(GB300|B300)", 10.3),
    (r"(GB200|B200|B100)", 10.0),
    (r"GB10|DGX Spark", 12.1),
    (r"RTX 50\d0|RTX PRO [2-6][05]00\b.*Blackwell|RTX PRO 6000", 12.0),
    (r"Thor", 11.0),
    (r"(H100|H200|H800|H20|GH200)", 9.0),
    (r"(L4|L20|L40|L40S|L2)", 8.9),
    (r"RTX 40\d0|RTX \d{4} Ada|Ada Generation", 8.9),
    (r"(A100|A800|A30)", 8.0),
    (r"(A10|A10G|A40|A16|A2)", 8.6),
    (r"RTX 30\d0|RTX A\d{4}", 8.6),
    (r"Orin", 8.7),
    (r"T4|T4G|RTX 20\d0|Quadro RTX|TITAN RTX|GTX 16\d0", 7.5),
    (r"V100|TITAN V", 7.0),
    (r"P100", 6.0),
    (r"P4|P40|GTX 10\d0|TITAN Xp?", 6.1),
)


def capability(gpu_name: str) -> float | None:
    """Compute capability (``8.9``) of a GPU by its name from the driver (``NVIDIA L40S``); None if unknown."""
    for pattern, found in _BY_NAME:
        if re.search(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])", gpu_name, re.IGNORECASE):
            return found
    return None
