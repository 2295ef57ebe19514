"""Secrets in the database: none of a study's is stored, however it was given; other values are kept."""

from collections.abc import Callable
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from autotuner.secrets import HIDDEN
from autotuner.store import Store
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.search.beginning import Beginning, UnusedStudy
from autotuner.study.search.evidence import EarlierStudy, EarlierTrial, Evidence, Facet
from autotuner.study.spec import EngineSpec, PluginSpec
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.samples import sample_spec

SECRETS = {
    "env": "hf_abcdefSECRET1", "args": "sk-SECRET2-quote\"-\\-ü", "number": "8315512907",
    "bearer": "eySECRET3", "setting": "SECRET4/with+signs=", "camel": "SECRET5-camel",
}  # fmt: skip


def dump(url: str, folder: Path) -> bytes:
    """All bytes that the database stores."""
    if url.startswith("sqlite"):
        return b"".join(file.read_bytes() for file in folder.glob("autotuner.db*"))
    found = make_url(url)
    query = {**found.query, "user": found.username, "password": found.password, "dbname": found.database}
    with psycopg.connect(**query) as server:  # type: ignore[arg-type]
        names = [r[0] for r in server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        assert "trials" in names
        rows = [server.execute(f"SELECT t::text FROM {name} t".encode()).fetchall() for name in names]  # noqa: S608
    return "\n".join(r[0] for some in rows for r in some).encode()


def test_database_has_no_secrets(url: str, store: Store, new_trial: Callable[..., Trial], tmp_path: Path) -> None:
    spec = sample_spec("s").model_copy(
        update={
            "engine": EngineSpec(
                kind="llama_cpp",
                args={"api-key": SECRETS["args"], "ssl-key-password": int(SECRETS["number"]), "alias": "kept-alias"},
                env={"HF_TOKEN": SECRETS["env"], "PLAIN": "kept-plain", "AWS_SECRET_ACCESS_KEY": "abc"},
            ),
            "deploy": PluginSpec.model_validate(
                {"kind": "x", "auth": {"password": SECRETS["setting"]}, "hfToken": SECRETS["camel"]}
            ),
            "workload": sample_spec("s").workload.model_copy(
                update={"extra_body": {"headers": [{"Authorization": f"Bearer {SECRETS['bearer']}"}]}}
            ),
        }
    )
    store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
    store.studies.update_spec("s", spec, digest=spec.digest, source="test")
    text = " ".join(SECRETS.values()) + " kept-log"
    trial = store.trials.add(new_trial(argv=("server", f"--api-key={SECRETS['args']}", text)), owner_id="o")
    store.trials.update(trial.model_copy(update={"resolved": {"api_key": "short", "deep": [{"x": text}]}}))
    failure = Failure(cause=FailureCause.CRASH_LOADING, message=text, log_tail=text)
    ended = {"state": TrialState.FAILED, "finished_at": 2.0, "failure": failure}
    store.trials.finish(trial.model_copy(update=ended), {"failure": {"message": text}})
    store.events.append("s", "notice", {"text": text, "token": "short"}, at=1.0)
    store.studies.set_state("s", "failed", {"why": text}, 2.0)
    earlier = EarlierTrial(number=0, values={"api-key": SECRETS["args"], "alias": "kept-earlier"}, windows=())
    study = EarlierStudy(study="old", facets={Facet.MODEL: text}, trials=(earlier,))
    unused = (UnusedStudy(study="x", why=text),)
    store.studies.begin("s", Beginning(unused=unused), Evidence(studies=(study,)))
    kept = dump(url, tmp_path)
    assert b"kept-log" in kept
    assert b"kept-plain" in kept
    assert b"kept-alias" in kept
    assert b"kept-earlier" in kept
    for name, secret in SECRETS.items():
        for spelling in (secret, secret.replace("\\", "\\\\").replace('"', '\\"')):
            assert spelling.encode() not in kept, name
    assert b"short" not in kept
    record = store.studies.get("s")
    assert record is not None
    assert record.spec.engine.env["HF_TOKEN"] == HIDDEN
    assert record.digest == spec.digest


def test_dump_finds_stored_text(url: str, tmp_path: Path) -> None:
    """Checks :func:`dump` itself: text that is not masked is found."""
    with Store.open(url) as store:
        spec = sample_spec("s")
        store.studies.create(spec, source="FINDME-source", digest=spec.digest, now=1.0)
    assert b"FINDME-source" in dump(url, tmp_path)
