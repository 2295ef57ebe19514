"""Values that llama.cpp's documentation recommends."""

from autotuner.study.launch import Hardware
from autotuner.study.search.starting_point import StartingPoint

_TUNING = "https://github.com/ggml-org/llama.cpp/blob/master/docs/development/token_generation_performance_tips.md"


def starting_points(hardware: Hardware) -> tuple[StartingPoint, ...]:
    """As many threads as physical cores. The number of these is not known: most CPUs have two logical ones for each,
    most virtual machines and ARM CPUs one."""
    counts = dict.fromkeys((max(1, hardware.cpus // 2), hardware.cpus))
    return tuple(StartingPoint(values={"threads": count}, source=_TUNING) for count in counts)
