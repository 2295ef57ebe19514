"""Conformance tests for engines: subclass :class:`EngineConformance` and provide a fixture ``engine``.

Requires pytest and hypothesis, which the package does not depend on.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotuner.errors import Problem
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.launch import Hardware
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.spec import EngineSpec, Model

MODEL = Model(path="/models/some model.gguf", name="served")
HARDWARE = Hardware(cpus=8, memory_gb=64.0)
TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
NASTY = ("two words", '{"a": [1, "x y"]}', "--threads", "-1", 'it\'s "quoted"', "a=b", "--x=y z", "$HOME;`id`", "ünï\n")
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    st.sampled_from(NASTY),
    st.tuples(st.integers(), TEXT),
)

_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
"""The engine is stateless, and several classes inherit one test."""
examples = settings(max_examples=60, deadline=None, suppress_health_check=_SHARED)


def sample(entry: CatalogEntry) -> Value:
    """A valid value of a catalog entry, other than its default if possible."""
    kind = entry.type.kind
    low = entry.type.low
    high = entry.type.high
    if kind == "bool":
        return not entry.default
    candidates: list[Value] = [*entry.suggested, *entry.type.choices]
    if kind in {"int", "float"}:
        bounds = [b for b in (low, high) if b is not None] or [3]
        candidates += [int(b) if kind == "int" else float(b) for b in bounds]
    if kind == "string":
        candidates += ["two words"]
    return next((c for c in candidates if c != entry.default), candidates[0])


def reads_as(value: Value) -> tuple[Value, ...]:
    """Results of ``flag_value`` for a value: its text; a switch as is; None for an off switch without an off flag."""
    if value is False:
        return (False, None)
    return (value,) if value is True or value is None else (str(value),)


class EngineConformance:
    """The contract of :class:`autotuner.plugins.engine.Engine`."""

    @pytest.fixture
    def spec(self, engine: Engine) -> EngineSpec:
        """No fixed arguments."""
        return EngineSpec(kind=engine.kind)

    def argv(self, engine: Engine, spec: EngineSpec, **values: Value) -> tuple[str, ...]:
        """The command line of a configuration; underscores in names stand for hyphens."""
        configuration = Configuration(values={k.replace("_", "-"): v for k, v in values.items()})
        return engine.plan(MODEL, spec, configuration).argv(host="127.0.0.1", port=8000)

    def takes_value(self, engine: Engine) -> Iterator[CatalogEntry]:
        """The catalog's entries that take exactly one value."""
        return (e for e in engine.catalog.values() if e.type.kind != "bool" and e.several == "no")

    def test_catalog_is_consistent(self, engine: Engine) -> None:
        spellings = [s for e in engine.catalog.values() for s in (e.name, *e.aliases, *filter(None, [e.off_flag]))]
        assert len(spellings) == len(set(spellings)), "one spelling, one meaning"
        for name, entry in engine.catalog.items():
            assert entry.name == name
            assert entry.meaning
            assert not name.startswith("-")
            assert "_" not in name
            assert (entry.off_flag is not None) or entry.type.kind != "bool" or not entry.default

    def test_every_spelling_has_one_canonical_name(self, engine: Engine) -> None:
        for name, entry in engine.catalog.items():
            for spelling in (name, f"--{name}", name.replace("-", "_"), *entry.aliases):
                assert engine.canonical(spelling) == name

    def test_unknown_names_are_hyphenated(self, engine: Engine) -> None:
        assert engine.canonical("--some_unknown_flag") == "some-unknown-flag"

    def test_defaults_and_suggestions_are_valid(self, engine: Engine) -> None:
        for name, entry in engine.catalog.items():
            for value in (entry.default, sample(entry)):
                assert engine.check_value(name, value) == [], f"{name}={value}"

    def test_default_configuration_sets_nothing_tunable(self, engine: Engine, spec: EngineSpec) -> None:
        argv = self.argv(engine, spec)
        assert {n for n in engine.catalog if engine.flag_value(argv, n) is not None} == set()
        assert engine.check({}, HARDWARE) == []

    def test_every_tuned_value_is_in_the_command_line(self, engine: Engine, spec: EngineSpec) -> None:
        for name, entry in engine.catalog.items():
            value = sample(entry)
            argv = self.argv(engine, spec, **{name: value})
            assert engine.flag_value(argv, name) in reads_as(value)
            if entry.type.kind != "bool":
                assert any(a == str(value) or a.endswith(f"={value}") for a in argv), "one argument, as written"
            assert engine.plan(MODEL, spec, Configuration(values={name: value})).tuned == {name: value}

    def test_a_list_becomes_several_arguments_in_order(self, engine: Engine, spec: EngineSpec) -> None:
        for name, entry in engine.catalog.items():
            if entry.several == "no":
                continue
            values = {"int": (1, 2, 4), "float": (0.5, 1.5)}.get(entry.type.kind, ("a=/x", "two words"))
            texts = tuple(map(str, values))
            configuration = Configuration(values={name: values})
            argv = engine.plan(MODEL, spec, configuration).argv(host="127.0.0.1", port=8000)
            assert engine.check_value(name, values) == []
            assert engine.flag_value(argv, name) == texts
            assert engine.override(argv, {name: values}) != engine.override(argv, {name: values[:1]})
            assert engine.flag_value(engine.override(argv, {name: values[-1:]}), name) == texts[-1]
            assert engine.flag_value(engine.override(argv, {name: None}), name) is None
            assert engine.read(argv).single.get(name, values) == values

    def test_a_list_is_refused_where_a_flag_takes_one_value(self, engine: Engine) -> None:
        for entry in self.takes_value(engine):
            if entry.type.kind in {"int", "float"}:
                assert engine.check_value(entry.name, (1, 2))

    def test_off_switches(self, engine: Engine, spec: EngineSpec) -> None:
        for name, entry in engine.catalog.items():
            if entry.type.kind == "bool":
                assert engine.flag_value(self.argv(engine, spec, **{name: True}), name) is True
                off = engine.flag_value(self.argv(engine, spec, **{name: False}), name)
                assert off is (False if entry.off_flag else None)

    def test_none_leaves_a_flag_out(self, engine: Engine, spec: EngineSpec) -> None:
        for name, entry in engine.catalog.items():
            fixed = spec.model_copy(update={"args": {name: sample(entry)}})
            assert engine.flag_value(self.argv(engine, fixed, **{name: None}), name) is None

    def test_tuned_values_override_fixed_ones_in_any_spelling(self, engine: Engine, spec: EngineSpec) -> None:
        for name, entry in engine.catalog.items():
            value = sample(entry)
            if value == entry.default or entry.type.kind == "bool":
                continue
            for spelling in (name, name.replace("-", "_"), *entry.aliases):
                fixed = spec.model_copy(update={"args": {spelling: 987654}})
                argv = self.argv(engine, fixed, **{name: value})
                assert engine.flag_value(argv, name) == str(value)
                assert not any("987654" in argument for argument in argv)

    @given(text=st.one_of(TEXT, st.sampled_from(NASTY)))
    @examples
    def test_any_text_stays_one_value(self, engine: Engine, text: str) -> None:
        base = self.argv(engine, EngineSpec(kind=engine.kind))
        for entry in self.takes_value(engine):
            argv = engine.override(base, {entry.name: text})
            assert engine.flag_value(argv, entry.name) == text
            assert len(argv) <= len(base) + 2
            planned = self.argv(engine, EngineSpec(kind=engine.kind), **{entry.name: text})
            assert engine.flag_value(planned, entry.name) == text

    @given(text=st.sampled_from(NASTY))
    @examples
    def test_a_value_that_looks_like_a_flag_hides_no_other(self, engine: Engine, text: str) -> None:
        first, *others = self.takes_value(engine)
        argv = engine.override(self.argv(engine, EngineSpec(kind=engine.kind)), {first.name: text})
        for other in others:
            argv = engine.override(argv, {other.name: "7"})
            assert engine.flag_value(argv, other.name) == "7"
            assert engine.flag_value(argv, first.name) == text

    def test_override_replaces_every_spelling(self, engine: Engine, spec: EngineSpec) -> None:
        base = self.argv(engine, spec)
        for entry in self.takes_value(engine):
            for spelling in (entry.name, entry.name.replace("-", "_"), *entry.aliases):
                dashes = "-" if len(spelling) <= 3 else "--"
                for old in ((f"{dashes}{spelling}", "987654"), (f"{dashes}{spelling}=987654",)):
                    argv = engine.override([*base, *old, "--last", "kept"], {entry.name: "5"})
                    assert not any("987654" in argument for argument in argv)
                    assert engine.flag_value(argv, entry.name) == "5"
                    assert "--last" in argv
                    assert "kept" in argv

    def test_override_keeps_the_rest_in_order(self, engine: Engine, spec: EngineSpec) -> None:
        base = self.argv(engine, spec)
        entry = next(self.takes_value(engine))
        once = engine.override(base, {entry.name: "5"})
        assert once[: len(base)] == base
        assert engine.override(once, {entry.name: "5"}) == once
        assert engine.override(once, {entry.name: None}) == base
        assert engine.override(base, {}) == base

    @given(values=st.dictionaries(st.text(max_size=20), VALUES, max_size=4), data=st.data())
    @examples
    def test_check_never_raises(self, engine: Engine, values: dict[str, Value], data: st.DataObject) -> None:
        known = data.draw(st.dictionaries(st.sampled_from(sorted(engine.catalog)), VALUES, max_size=6))
        for problem in engine.check({**values, **known}, HARDWARE):
            assert isinstance(problem, Problem)
            assert problem.why
            assert "\n" not in problem.why

    def test_check_reports_wrong_types(self, engine: Engine) -> None:
        for name, entry in engine.catalog.items():
            if entry.type.kind in {"int", "float"}:
                for wrong in ("many", True):
                    problems = engine.check({name: wrong}, HARDWARE)
                    assert [p for p in problems if engine.canonical(p.where) == name]
                    assert engine.check_value(name, wrong)

    @given(text=TEXT, code=st.one_of(st.none(), st.integers(-64, 255)), ready=st.booleans())
    @examples
    def test_explain_never_raises(self, engine: Engine, text: str, code: int | None, ready: bool) -> None:
        failure = engine.explain(code, text, ready=ready)
        assert failure is None or failure.exit_code == code

    def test_explain_does_not_guess(self, engine: Engine) -> None:
        assert engine.explain(3, "", ready=False) is None
        assert engine.explain(None, "all is well", ready=True) is None

    def test_plan_is_pure(self, engine: Engine, spec: EngineSpec) -> None:
        assert engine.plan(MODEL, spec, Configuration()) == engine.plan(MODEL, spec, Configuration())
        assert engine.plan(MODEL, spec, Configuration()).model == "served"
        assert engine.plan(Model(path="/models/x.gguf"), spec, Configuration()).model
        environment = spec.model_copy(update={"env": {"SOME_SETTING": "1"}})
        assert engine.plan(MODEL, environment, Configuration()).env["SOME_SETTING"] == "1"

    def test_what_changes_at_run_time_can_be_read_back(self, engine: Engine) -> None:
        assert engine.runtime_flags <= engine.catalog.keys()
        assert not engine.runtime_flags or engine.info_path
        assert all(engine.change({name: 1}) for name in engine.runtime_flags)
        assert list(engine.running_values({})) == []

    def test_gpus_and_resolved_accept_empty_input(self, engine: Engine) -> None:
        assert engine.gpus({}) >= 0
        assert engine.resolved({}, "", "") == {}
