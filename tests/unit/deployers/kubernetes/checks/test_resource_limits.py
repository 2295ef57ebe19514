"""LimitRanges and quotas applied to a pod without a dry run."""

from typing import Any

import pytest

from autotuner.deployers.kubernetes.checks import resource_limits


def container(**resources: Any) -> dict[str, Any]:
    return {"name": "server", "resources": resources}


def limit_range(**item: Any) -> dict[str, Any]:
    return {"metadata": {"name": "lr"}, "spec": {"limits": [{"type": "Container", **item}]}}


@pytest.mark.parametrize(
    ("item", "resources", "parts"),
    [
        ({"max": {"memory": "256Mi"}}, {"limits": {"memory": "512Mi"}}, ["maximum memory"]),
        ({"max": {"memory": "1Gi"}}, {"limits": {"memory": "512Mi"}}, []),
        ({"max": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, ["No limit is specified"]),
        ({"max": {"cpu": "1"}, "default": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, []),
        ({"min": {"cpu": "1"}}, {"requests": {"cpu": "500m"}}, ["minimum cpu"]),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}, ["ratio is 4"]),
        ({"max": {"cpu": "4"}, "type": "Pod"}, {"limits": {"cpu": "8"}}, ["per Pod is 4"]),
    ],
)
def test_limit_ranges_without_a_dry_run(item: Any, resources: Any, parts: list[str]) -> None:
    """``parts`` of Kubernetes' own messages, which the rules repeat."""
    reasons = [why for _, why in resource_limits.problems([limit_range(**item)], [container(**resources)])]
    assert len(reasons) == len(parts)
    assert all(part in why for part, why in zip(parts, reasons, strict=True))


def test_quotas_that_require_a_resource() -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"limits.cpu": "9", "memory": "9Gi", "pods": "3"}}}
    scoped = {"metadata": {"name": "s"}, "spec": {"hard": {"limits.cpu": "9"}, "scopes": ["BestEffort"]}}
    pods = [container(requests={"memory": "1Gi"})]
    assert list(resource_limits.unnamed([quota, scoped], [], pods)) == [("q", "limits.cpu")]
    assert list(resource_limits.unnamed([quota], [limit_range(default={"cpu": "1"})], pods)) == []
