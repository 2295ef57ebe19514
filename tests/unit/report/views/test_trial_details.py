"""The description of a trial's data matches the data."""

import json

import pytest

from autotuner.report.exports import strict_json
from autotuner.report.result import study_result
from autotuner.report.trial_data import trial_data
from autotuner.report.views.trial_details import TrialDetails
from autotuner.testing.samples import SampleKind, sample_study


@pytest.mark.parametrize("kind", list(SampleKind))
def test_the_model_has_all_fields_and_no_others(kind: str) -> None:
    sample = sample_study(kind)
    result = study_result(sample.spec, sample.state, sample.trials)
    for trial in result.trials:
        data = trial_data(result, trial, ["a line"])
        described = TrialDetails.model_validate(data)
        assert json.loads(strict_json(described)) == json.loads(strict_json(data))
