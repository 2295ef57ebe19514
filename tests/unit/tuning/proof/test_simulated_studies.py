"""A small run of the simulation whose figures the documentation quotes."""

import runpy
from pathlib import Path

from autotuner.study.spec import ConfirmSpec

FILE = Path(__file__).parents[4] / "benchmarks" / "proof_simulation.py"


def test_claims_of_simulated_studies_are_true() -> None:
    simulation = runpy.run_path(str(FILE))
    outcomes = [simulation["outcome"](seed, ConfirmSpec(), "adaptive") for seed in range(1, 41)]
    assert sum(o.wrong for o in outcomes) <= 3, "2.5% of 40 are 1"
    assert not any(o.harmful for o in outcomes)
    assert {"proven_better", "no_significant_difference", "winner_did_not_hold_up"} <= {o.ending for o in outcomes}
    (row,) = simulation["table"](outcomes)[2:]
    assert " of 40 " in row
