"""Weights of the model, given the measurements of earlier studies."""

from dataclasses import replace

import numpy as np
import pytest

from autotuner.search.model import recall as recall_module
from autotuner.search.model import scales
from autotuner.search.model.recall import Rows, recall, relations
from autotuner.study.search.evidence import EarlierStudy, Facet

SAME = dict.fromkeys(Facet, "here")


def study(name: str, *shared: Facet) -> EarlierStudy:
    facets = {f: "here" if f in shared else name for f in Facet}
    return EarlierStudy(study=name, facets=facets, shared=shared)


def rows(rest: np.ndarray, columns: np.ndarray, studies: list[int], deviation: float = 1.0) -> Rows:
    count, width = columns.shape
    return Rows(
        columns=columns,
        deviations=np.full(width, deviation),
        at=np.arange(width),
        rest=rest,
        variances=np.full(count, 0.01**2),
        studies=np.array(studies),
        launches=np.arange(count),
        others=np.zeros((count, 0)),
        level=0.0,
    )


def test_the_closer_a_study_is_related_the_more_it_says() -> None:
    columns = np.ones((20, 1))
    rest = np.full(20, 0.5)
    means = []
    widths = []
    for shared in ([], [Facet.MODEL], [Facet.MODEL, Facet.GPU], list(Facet)):
        found = recall(rows(rest, columns, [0] * 20), relations([study("a", *shared)]), 1.0)
        means.append(float(found[1].mean[0]))
        widths.append(abs(float(found[1].root[0, 0])))
    assert means == sorted(means)
    assert widths == sorted(widths, reverse=True)
    assert means[0] == pytest.approx(scales.SHARED * 0.5, rel=0.01)
    assert means[-1] == pytest.approx(0.9 * 0.5, rel=0.01), "a tenth belongs to a study alone"


def test_weights_are_those_of_the_joint_normal_distribution() -> None:
    random = np.random.default_rng(1)
    columns = random.standard_normal((12, 4))
    studies = [0] * 5 + [1] * 7
    related = relations([study("a", Facet.MODEL), study("b", Facet.MODEL, Facet.GPU)])
    made = rows(random.standard_normal(12), columns, studies)
    found = recall(made, related, factor=0.0)  # no additional noise
    for amplitude, one in zip(scales.AMPLITUDES, found, strict=True):
        common = related[np.ix_(studies, studies)]
        noise = np.eye(12) * (0.01**2 + scales.LAUNCH_NOISE**2)
        covariance = amplitude**2 * (columns @ columns.T) * common + noise
        cross = amplitude**2 * columns * related[-1, studies][:, None]
        mean = cross.T @ np.linalg.solve(covariance, made.rest)
        left = amplitude**2 * np.eye(4) - cross.T @ np.linalg.solve(covariance, cross)
        assert one.mean == pytest.approx(mean, abs=1e-6)
        assert one.root @ one.root.T == pytest.approx(left, abs=1e-5)
        sign, log_det = np.linalg.slogdet(covariance)
        assert sign == 1
        density = -0.5 * made.rest @ np.linalg.solve(covariance, made.rest) - 0.5 * log_det
        assert one.log_evidence == pytest.approx(density, rel=1e-4)


def test_values_that_follow_no_pattern_are_doubted() -> None:
    random = np.random.default_rng(2)
    columns = np.repeat(np.eye(5), 8, axis=0)  # five servers at eight levels each
    effects = random.standard_normal(5)
    sound = columns @ effects + 0.02 * random.standard_normal(40)
    mixed = random.permutation(sound)
    related = relations([study("a", *Facet)])
    sure, unsure = [recall(rows(rest, columns, [0] * 40), related, 1.0)[1] for rest in (sound, mixed)]
    assert np.abs(sure.mean - 0.9 * effects).max() < 0.05
    assert np.abs(unsure.mean).max() < 0.5 * np.abs(sure.mean).max()
    assert np.abs(np.diag(unsure.root)).min() > 1.1 * np.abs(np.diag(sure.root)).min()


def test_one_doubtful_study_does_not_discredit_another_one() -> None:
    random = np.random.default_rng(3)
    columns = np.vstack([np.repeat(np.eye(5), 8, axis=0)] * 2)
    effects = random.standard_normal(5)
    sound = columns[:40] @ effects + 0.02 * random.standard_normal(40)
    rest = np.concatenate([sound, random.permutation(sound)])
    related = relations([study("a", *Facet), study("b", *Facet)])
    found = recall(rows(rest, columns, [0] * 40 + [1] * 40), related, 1.0)[1]
    assert np.abs(found.mean - 0.9 * effects).max() < 0.3 * np.abs(effects).max()


@pytest.mark.parametrize("mixed_up", [False, True])
def test_the_noise_of_a_large_study_is_chosen_from_some_of_its_launches(
    monkeypatch: pytest.MonkeyPatch, mixed_up: bool
) -> None:
    random = np.random.default_rng(4)
    columns = np.repeat(random.standard_normal((75, 6)), 4, axis=0)
    rest = columns @ random.standard_normal(6) + 0.02 * random.standard_normal(300)
    made = rows(random.permutation(rest) if mixed_up else rest, columns, [0] * 300)
    made = replace(made, launches=np.repeat(np.arange(75), 4))
    sizes = []
    log_density = recall_module._log_density

    def noted(covariance: np.ndarray, values: np.ndarray) -> float:
        sizes.append(len(values))
        return log_density(covariance, values)

    monkeypatch.setattr(recall_module, "_log_density", noted)
    related = relations([study("a", *Facet)])
    some = recall(made, related, 1.0)[1]
    assert max(sizes) <= 120
    assert {size % 4 for size in sizes} == {0}, "whole launches"
    monkeypatch.setattr(recall_module, "_MOST_DOUBTED", 300)
    everything = recall(made, related, 1.0)[1]
    assert max(sizes) == 300
    assert some.mean == pytest.approx(everything.mean, abs=0.05)
    assert some.log_evidence == pytest.approx(everything.log_evidence, rel=0.2)
