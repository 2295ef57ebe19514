"""Settings and results of the quality check as they are stored."""

import pytest
from pydantic import ValidationError

from autotuner.study.configuration import DEFAULT
from autotuner.study.quality.answers import Answers, Reference, Token
from autotuner.study.quality.result import Distance, Excess, QualityResult, QualityState
from autotuner.study.quality.spec import QualitySpec
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.testing.samples import sample_spec


def test_only_what_is_asked_belongs_to_the_measurement() -> None:
    spec = QualitySpec(parameters=("a",), kl=0.5, disagreement=0.5, time_limit_s=1.0)
    assert spec.asked == {"parameters": ["a"], "prompts": 32, "tokens": 32}
    with pytest.raises(ValidationError):
        QualitySpec(prompts=8)


def test_studies_and_trials_of_earlier_versions_load() -> None:
    spec = sample_spec()
    older = spec.model_dump(mode="json")
    del older["quality"]
    assert StudySpec.model_validate(older) == spec
    assert StudySpec.model_validate(older).digest == spec.digest
    trial = Trial(study="s", number=0, role=TrialRole.DEFAULT, configuration=DEFAULT)
    stored = trial.model_dump(mode="json")
    del stored["quality"]
    assert Trial.model_validate(stored) == trial


def test_results_and_answers_are_stored_and_read_again() -> None:
    distance = Distance(prompts=16, tokens=99, identical=0.5, agreement=0.9, kl=0.01, logprob=-0.1)
    result = QualityResult(
        state=QualityState.COMPARED, reference=0, candidate=distance, control=distance, kl=Excess(value=0.0, low=-0.1)
    )
    assert QualityResult.model_validate_json(result.model_dump_json()) == result
    answers = Answers(method="m", answers=((Token(text="a", top={"a": -0.1}),), None), late=True, problem="HTTP 500")
    reference = Reference(full=answers, controls=(answers, answers))
    assert Reference.model_validate_json(reference.model_dump_json()) == reference
