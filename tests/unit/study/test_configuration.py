"""Identity of configurations."""

from autotuner.study.configuration import Configuration


def test_the_key_is_that_of_the_values() -> None:
    one = Configuration(values={"batch": 8, "kernel": "a"})
    assert one.key == Configuration(values={"kernel": "a", "batch": 8}).key
    assert len({Configuration(values={"p": v}).key for v in (1, 1.0, True, "1")}) == 4


def test_a_key_that_was_computed_is_no_part_of_the_configuration() -> None:
    one = Configuration(values={"batch": 8})
    before = (one.model_dump(), dict(one), repr(one), one.model_dump_json())
    known = one.key
    assert (one.model_dump(), dict(one), repr(one), one.model_dump_json()) == before
    assert one.key == known
    assert one.replaced(values={"batch": 16}).key == Configuration(values={"batch": 16}).key != known
