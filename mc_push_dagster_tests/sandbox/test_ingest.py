"""The REST contract: what is taken, what is refused, in which order, and with what answer."""

from __future__ import annotations

import copy
import gzip
import json
import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_push_dagster.sandbox import Sandbox, serve
from mc_push_dagster.sandbox.contract import NOTICE
from mc_push_dagster.sandbox.exchange import Asked
from mc_push_dagster.sandbox.rest import ingest

Build = dict[str, Any]


def test_a_push_is_answered_with_202_and_an_invocation_id(wire: Any, builders: Build) -> None:
    answer = wire.metadata(builders["asset"]("orders"))
    assert answer.status_code == 202
    assert str(uuid.UUID(answer.json()["invocation_id"])) == answer.json()["invocation_id"]
    [seen] = wire.box.requests("metadata")
    assert seen.invocation_id == answer.json()["invocation_id"]
    assert json.loads(seen.body)["events"] == wire.box.events("metadata")


def test_every_answer_says_that_it_is_not_monte_carlo(box: Sandbox, wire: Any) -> None:
    answers = [
        wire.post("metadata", {}),
        wire.post("nowhere", {}),
        requests.get(box.url, timeout=10),
        requests.get(f"{box.url}/nowhere", timeout=10),
        requests.post(box.api_endpoint, json={}, timeout=10),
        requests.get(box.url, headers={"host": "evil.example"}, timeout=10),
    ]
    assert [a.status_code for a in answers] == [400, 404, 200, 404, 401, 400]
    assert {a.headers["x-sandbox"] for a in answers} == {"1"}
    assert {a.headers["x-sandbox-notice"] for a in answers} == {NOTICE}


def test_checks_come_in_their_order(box: Sandbox, wire: Any, builders: Build) -> None:
    other = box.add_warehouse("other")
    narrow = box.add_key(warehouses=[other])
    stranger = type(narrow)(id="sandbox-nobody", secret="x", scope="Ingestion")
    huge = b"{" * 1_000_001
    assert wire.post("metadata", huge, key=stranger).status_code == 413
    assert wire.post("metadata", b"{", key=stranger).status_code == 401
    assert wire.post("metadata", b"{", key=narrow).status_code == 400
    assert wire.metadata(builders["asset"]("a", "BASE TABLE"), key=narrow).status_code == 400
    assert wire.metadata(builders["asset"]("a"), key=narrow).status_code == 403
    assert wire.metadata(builders["asset"]("a")).status_code == 202


@pytest.mark.parametrize("scope", ["API", "Spark", "MCP"])
def test_only_a_key_of_scope_ingestion_may_push(shared: Any, builders: Build, scope: str) -> None:
    assert shared.metadata(builders["asset"]("a"), key=shared.box.add_key(scope=scope)).status_code == 401


def test_a_warehouse_nobody_made_is_refused_with_403(wire: Any, builders: Build) -> None:
    wire.resource = {"uuid": str(uuid.uuid4()), "resource_type": "snowflake"}
    assert wire.metadata(builders["asset"]("a")).status_code == 403


METADATA: list[tuple[str, Any, str]] = [
    ("event_type", "LINEAGE", "event_type"),
    ("event_type", None, "event_type"),
    ("resource/uuid", "", "resource/uuid"),
    ("resource/resource_type", "DATA_LAKE", "resource/resource_type"),
    ("resource/log_type", "snowflake", "resource/log_type"),
    ("events", [], "events"),
    ("events/0/type", "TABLE", "events/0/type"),
    ("events/0/relational_asset/type", "BASE TABLE", "events/0/relational_asset/type"),
    ("events/0/relational_asset/type", "EXTERNAL", "events/0/relational_asset/type"),
    ("events/0/relational_asset/metadata/name", "", "events/0/relational_asset/metadata/name"),
    ("events/0/relational_asset/metadata/database", None, "events/0/relational_asset/metadata/database"),
    ("events/0/relational_asset/metadata/created_on", "1 March", "events/0/relational_asset/metadata/created_on"),
    ("events/0/relational_asset/volume", {"row_count": -1}, "events/0/relational_asset/volume/row_count"),
    ("events/0/relational_asset/volume", {"row_count": "3"}, "events/0/relational_asset/volume/row_count"),
    ("events/0/relational_asset/volume", {"row_count": 3.0}, "events/0/relational_asset/volume/row_count"),
    ("events/0/relational_asset/volume", {"row_count": True}, "events/0/relational_asset/volume/row_count"),
    ("events/0/relational_asset/volume", {"byte_count": 2**63}, "events/0/relational_asset/volume/byte_count"),
    ("events/0/relational_asset/volume", {}, "events/0/relational_asset/volume"),
    ("events/0/relational_asset/freshness", {}, "events/0/relational_asset/freshness/last_update_time"),
    (
        "events/0/relational_asset/freshness",
        {"last_update_time": "2024-03-01T14:30:00"},
        "events/0/relational_asset/freshness/last_update_time",
    ),
    (
        "events/0/relational_asset/freshness",
        {"last_update_time": "yesterday"},
        "events/0/relational_asset/freshness/last_update_time",
    ),
    ("events/0/relational_asset/fields", [{"name": "a"}], "events/0/relational_asset/fields/0/type"),
    ("events/0/relational_asset/columns", [], "events/0/relational_asset/columns"),
    ("events/0/relational_asset/tags", [{"value": "v"}], "events/0/relational_asset/tags/0/key"),
]


def _put(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(body)
    *above, last = path.split("/")
    place: Any = body
    for step in above:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return body


@pytest.mark.parametrize(("path", "value", "named"), METADATA)
def test_a_wrong_field_of_metadata_is_named(shared: Any, builders: Build, path: str, value: Any, named: str) -> None:
    body = {
        "event_type": "METADATA",
        "resource": shared.resource,
        "events": [{"relational_asset": builders["asset"]("a")}],
    }
    answer = shared.post("metadata", _put(body, path, value))
    assert answer.status_code == 400
    assert list(answer.json()["details"]) == [named]


def test_several_wrong_fields_are_all_named(wire: Any, builders: Build) -> None:
    answer = wire.metadata(builders["asset"]("a", "MATERIALIZED"), builders["asset"]("b", volume={"row_count": -1}))
    assert set(answer.json()["details"]) == {
        "events/0/relational_asset/type",
        "events/1/relational_asset/volume/row_count",
    }


def test_lineage_is_checked(wire: Any, builders: Build) -> None:
    ref = builders["ref"]
    edge = {"destination": ref("b"), "sources": [ref("a")]}
    fields = {"fields": [{"name": "y", "source_fields": [{"asset_id": "s", "field_name": "x"}]}]}
    with_ids = {"destination": ref("b", asset_id="d"), "sources": [ref("a", asset_id="s")]}
    assert wire.lineage(edge).status_code == 202
    assert wire.lineage(with_ids | fields, column=True).status_code == 202
    wrong = [
        (wire.lineage(edge | {"sources": []}), "events/0/sources"),
        (wire.lineage(edge | {"source": ref("a")}), "events/0/source"),
        (wire.lineage(with_ids | fields), "events/0/fields"),
        (wire.lineage(edge | fields, column=True), "events/0/fields/0/source_fields/0/asset_id"),
        (wire.lineage(edge | {"destination": ref("b", resource_uuid="u")}), "events/0/destination"),
    ]
    for answer, named in wrong:
        assert answer.status_code == 400
        assert list(answer.json()["details"]) == [named]


def test_cross_warehouse_lineage_needs_a_key_for_every_warehouse_it_names(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    ref, other = builders["ref"], box.add_warehouse("other")
    here = {"resource_uuid": box.resource_uuid, "resource_type": "snowflake"}
    there = {"resource_uuid": other, "resource_type": "bigquery"}
    body = {"event_type": "LINEAGE", "events": [{"destination": ref("b", **here), "sources": [ref("a", **there)]}]}
    assert wire.post("lineage", body).status_code == 202
    assert wire.post("lineage", body, key=box.add_key(warehouses=[box.resource_uuid])).status_code == 403
    body["events"] = [{"destination": ref("b", **here), "sources": [ref("a")]}]
    assert list(wire.post("lineage", body).json()["details"]) == ["events/0/sources/0"]


def test_query_logs_are_checked(box: Sandbox, wire: Any, builders: Build) -> None:
    query = builders["query"]
    assert wire.query_logs(query("select 1", error_code=None, error_text=None, extra={})).status_code == 202
    assert wire.query_logs(query("select 1", error_code=904), log_type="hive-s3").status_code == 202
    assert wire.query_logs(query("select 1", error_code=1.5)).status_code == 400
    backwards = wire.query_logs(query("select 1", end="2026-02-28T22:00:00Z"))
    assert list(backwards.json()["details"]) == ["events/0/end_time"]
    naive = wire.query_logs(query("select 1", at="2026-02-28T23:00:00"))
    assert list(naive.json()["details"]) == ["events/0/start_time"]
    wrong_type = wire.query_logs(query("select 1"), log_type="hive")
    assert wrong_type.json()["message"] == "Unsupported ingest query-log log_type: hive"
    body = {"event_type": "QUERY_LOG", "resource": wire.resource, "events": [query("select 1")]}
    no_type = wire.post("querylogs", body)
    assert no_type.json()["message"].startswith("Unsupported ingest query-log log_type")
    assert set(no_type.json()["details"]) == {"resource/log_type", "resource/resource_type"}


def test_413_measures_the_raw_body_or_its_gzip(tmp_path: Path, wire: Any, builders: Build) -> None:
    padded = builders["asset"]("a")
    padded["metadata"]["description"] = "x" * 1_000_001
    assert wire.metadata(padded).status_code == 413
    with serve(tmp_path / "gzip", measure="gzip") as box:
        gzipped = type(wire)(box)
        assert gzipped.metadata(padded).status_code == 202
        padded["metadata"]["description"] = os.urandom(1_400_000).hex()
        assert gzipped.metadata(padded).status_code == 413


def test_a_compressed_body_is_refused_because_nobody_documents_it(wire: Any) -> None:
    answer = wire.post("metadata", gzip.compress(b"{}"), headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_lenient_takes_the_longer_list_of_types_and_naive_times(tmp_path: Path, wire: Any, builders: Build) -> None:
    with serve(tmp_path / "lenient", lenient=True) as box:
        loose = type(wire)(box)
        naive = {"freshness": {"last_update_time": "2024-03-01T14:30:00"}}
        assert loose.metadata(builders["asset"]("a", "EXTERNAL", **naive)).status_code == 202
        assert loose.metadata(builders["asset"]("a", "BASE TABLE")).status_code == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"null", b"[]", b'"x"', b"{" * 500, b"[" * 100_000, b'{"events": NaN}', b'{"a": "\\ud800"}'],
)
@pytest.mark.parametrize("path", ["metadata", "lineage", "querylogs"])
def test_what_is_not_such_a_body_is_refused_with_400(shared: Any, path: str, body: bytes) -> None:
    assert shared.post(path, body).status_code == 400


def test_hostile_names_are_kept_as_they_are(wire: Any, builders: Build) -> None:
    names = [
        "<script>alert(1)</script>",
        "a\"b'c`d",
        "ta;ble -- x",
        "雪だるま ☃ 🙈",
        "a.b:c++d",
        " lead",
        "nul\x00nul",
        "%s{{7*7}}",
    ]
    assert wire.metadata(*[builders["asset"](n) for n in names]).status_code == 202
    found = wire.ask("{ getTables(first: 100) { edges { node { friendlyName fullTableId } } } }")["getTables"]["edges"]
    assert {e["node"]["friendlyName"] for e in found} == set(names)
    assert {e["node"]["fullTableId"] for e in found} == {f"db:public.{n}" for n in names}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=timedelta(seconds=2), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=JSON)
def test_no_body_however_damaged_breaks_the_server(
    shared: Any, builders: Build, data: st.DataObject, value: Any
) -> None:
    """A valid body with anything in the place of anything is taken or refused, never a crash."""
    ref = builders["ref"]
    event = {
        "destination": ref("b", asset_id="d"),
        "sources": [ref("a", asset_id="s")],
        "fields": [{"name": "y", "source_fields": [{"asset_id": "s", "field_name": "x"}]}],
    }
    full = {
        "volume": {"row_count": 1},
        "freshness": {"last_update_time": "2026-02-28T12:00:00Z"},
        "fields": [{"name": "c", "type": "INT"}],
    }
    path, body = data.draw(
        st.sampled_from(
            [
                (
                    "metadata",
                    {
                        "event_type": "METADATA",
                        "resource": shared.resource,
                        "events": [{"relational_asset": builders["asset"]("a", **full)}],
                    },
                ),
                ("lineage", {"event_type": "COLUMN_LINEAGE", "resource": shared.resource, "events": [event]}),
                (
                    "querylogs",
                    {
                        "event_type": "QUERY_LOG",
                        "resource": {"uuid": shared.box.resource_uuid, "log_type": "snowflake"},
                        "events": [builders["query"]("select 1", user="u", extra={"a": 1})],
                    },
                ),
            ]
        )
    )
    damaged = _put(body, data.draw(st.sampled_from(_paths(body))), value)
    key = shared.box.ingest_key
    headers = {"x-mcd-id": key.id, "x-mcd-token": key.secret}
    asked = Asked(path=f"/ingest/v1/{path}", headers=headers, body=json.dumps(damaged).encode())
    assert ingest(shared.box.world, asked).status in (202, 400, 403)


def _paths(node: Any, at: str = "") -> list[str]:
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = []
    for key, below in steps:
        # _put writes to dictionaries; a list's element is reached by what is in it.
        if isinstance(node, dict):
            found.append(f"{at}{key}")
        found += _paths(below, f"{at}{key}/")
    return found


@pytest.mark.bench
def test_five_hundred_tables_are_taken_in_some_tens_of_milliseconds(wire: Any, builders: Build) -> None:
    import time

    fields = [{"name": f"column_{n}", "type": "VARCHAR"} for n in range(30)]
    assets = [builders["asset"](f"t{n}", fields=fields, volume={"row_count": n}) for n in range(500)]
    body = json.dumps(
        {"event_type": "METADATA", "resource": wire.resource, "events": [{"relational_asset": a} for a in assets]}
    )
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        assert wire.post("metadata", body.encode()).status_code == 202
        took.append(time.perf_counter() - begun)
    print(f"500 tables x 30 columns, {len(body):,} bytes: best {min(took) * 1000:.0f} ms of {len(took)}")
