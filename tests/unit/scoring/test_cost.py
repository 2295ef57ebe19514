"""Prices of GPUs and hosts, and the costs that follow from them."""

import pytest

from autotuner.scoring.cost import gpu_price, usd_per_hour, with_costs
from autotuner.study.measurement import Measurement
from autotuner.study.metric import COST_METRICS
from autotuner.study.workload import Concurrency

PRICES = {"H100": 2.5, "H100 PCIe": 2.0, "A100-80GB": 1.5, "L4": 0.5, "*": 1.0, "host": 0.4}


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("NVIDIA H100 80GB HBM3", 2.5),
        ("NVIDIA H100 PCIe", 2.0),
        ("NVIDIA A100-SXM4-80GB", 1.5),
        ("NVIDIA A100-SXM4-40GB", 1.0),
        ("NVIDIA GH200 480GB", 1.0),
        ("NVIDIA L4", 0.5),
        ("NVIDIA L40S", 1.0),
        ("nvidia h100", 2.5),
        ("", 1.0),
    ],
)
def test_the_most_specific_key_names_a_gpu(name: str, price: float) -> None:
    assert gpu_price(PRICES, name) == price
    assert gpu_price({k: v for k, v in PRICES.items() if k != "*"}, name) == (None if price == 1.0 else price)


def test_a_server_costs_all_of_its_gpus_or_its_host() -> None:
    assert usd_per_hour(PRICES, "NVIDIA H100 80GB HBM3", 4) == 10.0
    assert usd_per_hour(PRICES, "NVIDIA H100 80GB HBM3", 0) == 0.4
    assert usd_per_hour({"H100": 2.5}, "NVIDIA H100 80GB HBM3", 0) is None
    assert usd_per_hour({"host": 0.4, "H100": 2.5}, "NVIDIA B200", 1) is None


def window(**scalars: float) -> Measurement:
    return Measurement(
        scenario="D(8,8)",
        level=Concurrency(in_flight=1),
        window_s=10.0,
        requests=10,
        failed=0,
        scalars=scalars,
        uncertainty={"output_throughput": 0.02},
    )


def test_costs_of_tokens_and_requests() -> None:
    found = with_costs(window(output_throughput=1000.0, request_throughput=2.0), 7.2)
    assert found.value("cost_per_million_output_tokens", None) == pytest.approx(2.0)
    assert found.value("cost_per_request", None) == pytest.approx(0.001)
    assert found.uncertainty["cost_per_million_output_tokens"] == 0.02
    assert "cost_per_request" not in found.uncertainty


@pytest.mark.parametrize("measured", [window(), window(output_throughput=0.0, request_throughput=0.0)])
def test_nothing_served_has_no_cost(measured: Measurement) -> None:
    assert with_costs(measured, 7.2) == measured


def test_other_prices_replace_the_costs() -> None:
    measured = window(output_throughput=1000.0, request_throughput=2.0)
    priced = with_costs(measured, 7.2)
    assert with_costs(priced, 3.6).value("cost_per_million_output_tokens", None) == pytest.approx(1.0)
    assert with_costs(priced, None) == measured
    assert set(priced.scalars) - set(measured.scalars) == COST_METRICS
