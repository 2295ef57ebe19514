"""The cost of a study and what its winner saves, in every output."""

import csv
import io
import json
import re
from statistics import fmean

import pytest

from autotuner import scoring
from autotuner.cli.trial_page import trial_text
from autotuner.report.exports import best_json, export_text
from autotuner.report.result import StudyResult, study_result
from autotuner.report.study_cost import cost_text, study_cost
from autotuner.report.terminal import summary_text
from autotuner.scoring.cost import with_costs
from autotuner.study.configuration import Configuration
from autotuner.study.spec import ConfirmSpec
from autotuner.study.text.forms import parse_objective, parse_slo
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.samples import sample_spec
from autotuner.testing.study_maker import StudyMaker
from support.web.reports import report_text

HOURS = 17.2 / 3600
"""Hours of each trial of a made-up study."""


def result(
    *,
    fast: float = 600.0,
    gpus: int = 0,
    hourly: float | None = 7.2,
    winner_gpus: int | None = None,
    proof: int = 3,
    confirm: ConfirmSpec | None = None,
) -> StudyResult:
    """A study in which ``parallel=8`` has the given speed, and the default 400 tokens/s."""
    spec = sample_spec("chat-tuned")
    spec = spec.replaced(confirm=confirm or spec.confirm)
    maker = StudyMaker(
        spec,
        noise=0.001,
        speed=lambda c: fast if c.values else 400.0,
        latency=lambda _: 0.13,
        gpus=lambda c: gpus if not c.values or winner_gpus is None else winner_gpus,
    )
    maker.measured()
    winner = maker.measured(Configuration(values={"parallel": 8}))
    maker.proof(winner, proof)
    trials = tuple(_priced(t, None if hourly is None else hourly * max(1, t.gpus)) for t in maker.trials)
    return study_result(spec, "done", trials)


def _priced(trial: Trial, hourly: float | None) -> Trial:
    measurements = tuple(with_costs(m, hourly) for m in trial.measurements)
    return trial.replaced(usd_per_hour=hourly, measurements=measurements)


def test_a_proven_winner_saves_the_difference_of_the_repeats() -> None:
    found = result()
    assert found.ending.proven
    cost = study_cost(found)
    assert cost is not None
    assert cost.hours == pytest.approx(8 * HOURS)
    assert cost.gpu_hours == 0
    assert cost.usd == pytest.approx(8 * HOURS * 7.2)
    assert cost.metric == "cost_per_million_output_tokens"
    means = [_mean([t for t in found.trials if t.repeat_of == n]) for n in (0, 1)]
    assert cost.saved == pytest.approx(means[0] - means[1])
    assert cost.saved > 0
    assert cost.pays_back_after == pytest.approx(cost.usd / cost.saved)
    text = cost_text(found)
    assert text.startswith("Cost of the study: 0.0382 hours, $0.28; the winner saves $")
    assert "per million output tokens: paid back after" in text


def test_blocks_are_compared_as_pairs_by_the_rule_of_the_proof() -> None:
    found = result(confirm=ConfirmSpec(), proof=6)
    assert found.ending.proven
    cost = study_cost(found)
    assert cost is not None
    assert cost.saved is not None
    assert cost.saved > 0
    few = study_cost(result(confirm=ConfirmSpec(), proof=2))
    assert few is not None
    assert few.saved is None


def _mean(trials: list[Trial]) -> float:
    return fmean(m.value("cost_per_million_output_tokens", None) or 0 for t in trials for m in t.measurements)


def test_nothing_is_saved_without_a_proof_or_by_a_faster_winner_on_more_gpus() -> None:
    for found in (result(proof=0), result(gpus=1, winner_gpus=4), result(fast=402.0)):
        cost = study_cost(found)
        assert cost is not None
        assert (cost.metric, cost.saved, cost.pays_back_after) == (None, None, None)
        assert "saves" not in cost_text(found)
    assert result(gpus=1, winner_gpus=4).ending.proven


def test_gpu_hours_are_those_of_all_trials() -> None:
    found = result(gpus=1, winner_gpus=4)
    cost = study_cost(found)
    assert cost is not None
    assert cost.gpu_hours == pytest.approx(4 * HOURS + 4 * 4 * HOURS)
    assert cost.usd == pytest.approx(7.2 * cost.gpu_hours)
    assert "GPU-hours" in cost_text(found)


def test_an_unknown_price_means_an_unknown_cost() -> None:
    found = result(hourly=None)
    assert study_cost(found) is None
    assert cost_text(found) == ""
    assert "Cost of the study" not in summary_text(found)
    assert json.loads(export_text(found, "json"))["cost"] is None


def test_trials_that_were_not_launched_do_not_hide_the_cost() -> None:
    found = result()
    waited = found.trials[1].replaced(
        number=99, usd_per_hour=None, phases={"queued": 0.1}, measurements=(), verdict=None
    )
    void = waited.replaced(state=TrialState.VOID, phases={"queued": 0.1, "loading": 36.0}, usd_per_hour=7.2)
    for more, hours in ((waited, 0.0), (void, 0.01)):
        cost = study_cost(study_result(found.spec, "done", (*found.trials, more)))
        assert cost is not None
        assert cost.hours == pytest.approx(8 * HOURS + hours)
    unpriced = void.replaced(usd_per_hour=None)
    assert study_cost(study_result(found.spec, "done", (*found.trials, unpriced))) is None


def test_a_saving_is_judged_by_the_noise_of_one_value() -> None:
    """1.7%; the difference that two single measurements stay below is about 1.4%, which is too coarse for means."""
    found = result(fast=407.0)
    assert found.ending.proven
    cost = study_cost(found)
    assert cost is not None
    assert cost.metric == "cost_per_million_output_tokens"


@pytest.mark.parametrize(("gpus", "paid"), [(0, 0.75), (1, 1.0)])
def test_servers_side_by_side_share_the_host_but_not_gpus(gpus: int, paid: float) -> None:
    """Four of eight trials run in pairs."""
    found = result(gpus=gpus)
    spec = found.spec.replaced(prices={"host": 7.2})
    begins = {0: 0.0, 1: 0.0, 2: 20.0, 3: 20.0}
    trials = [
        t.replaced(
            started_at=1e9 + begins.get(t.number, 20.0 * t.number),
            finished_at=1e9 + begins.get(t.number, 20.0 * t.number) + 19,
        )
        for t in found.trials
    ]
    cost = study_cost(study_result(spec, "done", trials))
    assert cost is not None
    assert cost.usd == pytest.approx(paid * 8 * HOURS * 7.2)
    assert cost.hours == pytest.approx(paid * 8 * HOURS)


def test_a_simulated_study_costs_nothing() -> None:
    found = result()
    trials = tuple(t.replaced(resolved={"simulated": True}) for t in found.trials)
    assert study_cost(study_result(found.spec, "done", trials)) is None


def test_every_output_has_the_cost() -> None:
    found = result()
    text = cost_text(found)
    assert summary_text(found).endswith(text)
    assert "the winner saves" in report_text(found)
    assert re.search(r"\$[0-9.]+ per 1M tokens", trial_text(found, found.trials[1], []))
    for data in (json.loads(export_text(found, "json")), best_json(found)):
        assert data["cost"]["metric"] == "cost_per_million_output_tokens"
    [first, *_] = csv.DictReader(io.StringIO(export_text(found, "csv")))
    assert float(first["usd_per_hour"]) == 7.2
    assert float(first["cost_per_million_output_tokens"]) > 0
    assert float(first["cost_per_request"]) > 0


def test_a_cost_can_be_objective_and_slo() -> None:
    spec = sample_spec("chat-tuned")
    found = result()
    places = [(s.text, level) for s in spec.workload.scenarios for level in spec.workload.levels]
    objective = parse_objective("min cost_per_million_output_tokens")
    worst = max(m.value(objective.metric, None) or 0 for m in found.trials[0].measurements)
    for bound, feasible in ((worst * 1.01, True), (worst * 0.99, False)):
        verdict = scoring.score(
            found.trials[0].measurements,
            [objective],
            [parse_slo(f"cost_per_million_output_tokens <= {bound:.6f}")],
            min_success_rate=0.9,
            expected=places,
        )
        assert verdict.objectives == (worst,)
        assert verdict.feasible is feasible
