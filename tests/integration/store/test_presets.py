"""Presets in the database: SQLite and PostgreSQL."""

from autotuner.store import Store
from autotuner.store.presets.records import Preset


def test_a_preset_is_saved_replaced_and_removed(store: Store) -> None:
    for name in ("b", "a"):
        store.presets.save(Preset(name=name, engine="vllm", updated_by="token ci"), f"engine: vllm # {name}\n")
    first = store.presets.all()
    assert [(found.name, found.engine, found.updated_by) for found in first] == [
        ("a", "vllm", "token ci"),
        ("b", "vllm", "token ci"),
    ]
    assert abs(first[0].updated_at - store.clock()) < 60
    saved = store.presets.save(Preset(name="a", model="org/m"), "model: org/m\n")
    assert saved == store.presets.all()[0]
    assert (saved.engine, saved.model) == ("", "org/m")
    assert saved.updated_at >= first[0].updated_at
    assert [store.presets.text(name) for name in ("a", "b", "c")] == ["model: org/m\n", "engine: vllm # b\n", None]
    assert [store.presets.remove("a"), store.presets.remove("a")] == [True, False]
    assert [found.name for found in store.presets.all()] == ["b"]
