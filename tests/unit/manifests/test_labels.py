"""Labels: valid for any study's name, distinct, and reserved where the tuner sets them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests import labels
from autotuner.manifests.labels import label_value, not_ours, trial_annotations, trial_labels, winner_labels
from autotuner.study.launch import Labels

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
STUDIES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
LONG = Labels(study="s" * 63 + "-", trial=3, owner="host:" + "x" * 80)


@given(STUDIES | st.text(max_size=80), STUDIES | st.text(max_size=80))
def test_values_are_valid_and_distinct(one: str, other: str) -> None:
    values = [label_value(text) for text in (one, other)]
    assert all(LABEL.fullmatch(value) for value in values)
    assert (values[0] == values[1]) == (one == other)


@given(st.text(max_size=80))
def test_a_valid_value_stays_as_it_is(text: str) -> None:
    assert label_value(label_value(text)) == label_value(text)


def test_objects_of_a_trial_keep_the_unshortened_texts() -> None:
    found = trial_labels(LONG, "at-x", "server")
    assert all(LABEL.fullmatch(value) for value in found.values())
    assert found[labels.TRIAL] == "3"
    assert trial_annotations(LONG) == {labels.STUDY: LONG.study, labels.OWNER: LONG.owner}


def test_a_winner_has_no_owner_that_could_remove_it() -> None:
    assert labels.OWNER not in winner_labels("chat", 3)


@pytest.mark.parametrize("key", [labels.STUDY, labels.OWNER, labels.MANAGED_BY])
def test_labels_of_the_tuner_cannot_be_set(key: str) -> None:
    with pytest.raises(InvalidValueError):
        not_ours({"team": "ml", key: "x"})
    assert not_ours({"team": "ml"}) == {"team": "ml"}
