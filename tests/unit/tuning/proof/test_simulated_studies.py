"""A small run of the simulation whose figures the documentation quotes."""

import runpy
from pathlib import Path

from autotuner.study.spec import ConfirmSpec

FILE = Path(__file__).parents[4] / "benchmarks" / "proof_simulation.py"


def test_claims_of_simulated_studies_are_true() -> None:
    simulation = runpy.run_path(str(FILE))
    rule = simulation["Rule"]("adaptive", ConfirmSpec())
    outcomes = [simulation["outcome"](seed, rule) for seed in range(1, 41)]
    assert sum(o.wrong for o in outcomes) <= 3, "2.5% of 40 are 1"
    assert not any(o.harmful for o in outcomes)
    assert {"proven_better", "no_significant_difference", "winner_did_not_hold_up"} <= {o.ending for o in outcomes}
    (row,) = simulation["table"](outcomes)[2:]
    assert " of 40 " in row
    (line,) = simulation["allowed"]([rule], outcomes)
    assert line.endswith("within the stated 2.50%")


def test_studies_that_are_searched_further_are_proven_anew() -> None:
    simulation = runpy.run_path(str(FILE))
    once, further = (simulation["Rule"](str(n), ConfirmSpec(), extensions=n) for n in (0, 1))
    assert simulation["parts"](6, 1) == [range(4), range(4, 6)]
    pairs = [[simulation["outcome"](seed, rule) for rule in (once, further)] for seed in range(1, 11)]
    assert sum(after.launches > before.launches for before, after in pairs) > 5
    assert not any(after.harmful for _, after in pairs)
