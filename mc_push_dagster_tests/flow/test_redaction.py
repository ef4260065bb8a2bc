"""With `redact_query_text`, no value of a statement leaves: not in a body, not in the outbox, not in a manifest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mc_push_dagster.flow.manifest import Manifest
from mc_push_dagster.flow.redaction import ERROR_WITHHELD, as_configured
from mc_push_dagster.model import Feed, LineageEdge, Window
from mc_push_dagster_tests.flow.harness import NOON, Desk, Recorder, Shop, config, desk, query, table

ELEVEN = Window.hour(NOON - timedelta(hours=1))
TEXT = "CREATE TABLE shop.main.z AS SELECT id FROM shop.main.t WHERE name = 'Mara Lindqvist' -- ask Otto"


def _desk(tmp_path: Path, *, redacting: bool) -> Desk:
    shop = Shop(table("t"), table("z"))
    extra = {"query_tag": "for Mara Lindqvist", "role_name": "ANALYST", "query_type": "SELECT", "rows": 4}
    shop.log = [
        query(1, ELEVEN.start, TEXT, extra=extra),
        query(2, ELEVEN.start, "SELECT 'Mara", error_text="syntax error at 'Mara", error_code="42601"),
    ]
    settings = config().model_copy(update={"redact_query_text": redacting})
    return desk(tmp_path, shop=shop, gateway=Recorder(), settings=settings)


def _files(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_bodies_hold_no_value_of_a_statement(tmp_path: Path) -> None:
    at = _desk(tmp_path, redacting=True)
    at.pusher.push_query_logs(ELEVEN)
    assert isinstance(at.gateway, Recorder)
    first, second = sorted(at.gateway.events(Feed.QUERY_LOG), key=lambda e: e["query_id"])
    assert first["query_text"] == "CREATE TABLE shop.main.z AS SELECT id FROM shop.main.t WHERE name = '***'"
    assert first["extra"] == {"query_tag": "***", "role_name": "ANALYST", "query_type": "SELECT", "rows": 4}
    assert second["error_text"] == ERROR_WITHHELD
    assert second["error_code"] == "42601"
    assert b"Mara" not in _files(tmp_path)


def test_manifests_hold_no_value_and_the_lineage_of_the_text(tmp_path: Path) -> None:
    at = _desk(tmp_path, redacting=True)
    manifest = at.pusher.collect(tmp_path / "out", windows=[ELEVEN])
    assert b"Mara" not in manifest.read_bytes()
    read = Manifest.open(manifest)
    edges = [e for s in read.sections("lineage") for e in read.read(s) if isinstance(e, LineageEdge)]
    assert [(str(e.source), str(e.destination)) for e in edges] == [("shop.main.t", "shop.main.z")]


def test_a_manifest_with_values_is_redacted_when_it_is_pushed(tmp_path: Path) -> None:
    manifest = _desk(tmp_path / "one", redacting=False).pusher.collect(tmp_path / "out", windows=[ELEVEN])
    assert b"Mara" in manifest.read_bytes()
    at = _desk(tmp_path / "two", redacting=True)
    at.pusher.push_manifest(manifest)
    assert isinstance(at.gateway, Recorder)
    assert "Mara" not in str(at.gateway.events(Feed.QUERY_LOG))
    assert b"Mara" not in _files(tmp_path / "two")


def test_lineage_is_derived_from_the_text_with_its_values(tmp_path: Path) -> None:
    pushed = []
    for redacting in (True, False):
        at = _desk(tmp_path / str(redacting), redacting=redacting)
        at.pusher.push_lineage()
        assert isinstance(at.gateway, Recorder)
        pushed.append((at.gateway.events(Feed.LINEAGE), at.gateway.events(Feed.COLUMN_LINEAGE)))
    assert pushed[0] == pushed[1]
    assert pushed[0][0]


def test_nothing_changes_where_the_switch_is_off() -> None:
    records = [query(1, NOON, TEXT, error_text="x 'Mara'")]
    assert list(as_configured(records, config(), "duckdb")) == records
    assert config().redact_query_text is False
