"""Distances between loads."""

ROUNDING = 1e-9
"""Relative error of computed loads; a bracket that is wider by no more is within the precision."""


def next_above(load: float, precision: float, *, whole: bool) -> float:
    """The upper end of a precise bracket whose lower end is a load.

    Args:
        load: In the unit of the search.
        precision: Largest ratio of the bracket's ends, minus one.
        whole: Loads are whole numbers. The next one always counts as within the precision.
    """
    higher = load * (1 + precision) * (1 + ROUNDING)
    return max(load + 1, float(int(higher))) if whole else higher
