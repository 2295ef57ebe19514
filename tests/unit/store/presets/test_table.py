"""The table of presets."""

from pathlib import Path

from autotuner.store import Store
from autotuner.store.presets.records import Preset


def test_what_databases_refuse_is_replaced(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.presets.save(Preset(name="chat", model="a\0b"), "model: a\0b\ud800\n")
        assert store.presets.all()[0].model == "a\ufffdb"
        assert store.presets.text("chat") == "model: a\ufffdb?\n"
        assert store.presets.text("\ud800") is None
        assert not store.presets.remove("\ud800")
