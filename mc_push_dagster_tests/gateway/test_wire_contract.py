"""What goes over the wire, held against the product document's schema and against golden bytes."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.model import Feed
from mc_push_dagster_tests.flow import test_events as model
from mc_push_dagster_tests.gateway.raw_server import RawServer, replies
from mc_push_dagster_tests.golden import document_schema, wire_bodies

SCHEMAS: dict[str, Any] = json.loads(document_schema.FILE.read_text(encoding="utf-8"))
SCHEMA_OF = {
    Feed.METADATA: "table",
    Feed.LINEAGE: "lineage",
    Feed.COLUMN_LINEAGE: "column_lineage",
    Feed.QUERY_LOG: "query_log",
}


def wrong_in(name: str, body: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(SCHEMAS[name]).iter_errors(body)
    return [f"{'/'.join(map(str, e.path))}: {e.message}" for e in found]


def test_the_committed_schema_is_what_the_document_says() -> None:
    if not document_schema.DOCUMENT.exists():
        pytest.skip(f"the product document is not beside the checkout: {document_schema.DOCUMENT.name}")
    derived = document_schema.derived(document_schema.DOCUMENT.read_text(encoding="utf-8"))
    assert document_schema.FILE.read_text(encoding="utf-8") == document_schema.text_of(derived)


@pytest.mark.parametrize("name", document_schema.NAMES)
def test_the_documents_own_examples_fit_its_schema(name: str) -> None:
    for example in SCHEMAS[name]["examples"]:
        assert wrong_in(name, example) == []


@pytest.mark.parametrize("feed", Feed)
def test_the_golden_bodies_fit_the_documents_schema(feed: Feed) -> None:
    assert wrong_in(SCHEMA_OF[feed], json.loads(wire_bodies.file_of(feed).read_bytes())) == []


@pytest.mark.parametrize("feed", Feed)
def test_what_a_server_receives_is_the_golden_body_byte_for_byte(
    connection: Connection, server: RawServer, feed: Feed
) -> None:
    server.then(replies(202))
    with IngestGateway(connection) as gateway:
        gateway.send(feed, wire_bodies.body(feed))
    assert server.requests[0].body == wire_bodies.file_of(feed).read_bytes()


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.tuples(st.just(Feed.METADATA), st.lists(model.snapshots.map(model.metadata_event), min_size=1, max_size=2)),
        st.tuples(st.just(Feed.QUERY_LOG), st.lists(model.records.map(model.query_event), min_size=1, max_size=2)),
        st.tuples(
            st.just(Feed.LINEAGE),
            st.lists(model.table_edges, min_size=1, max_size=4).map(model.lineage_events).map(list),
        ),
        st.tuples(
            st.just(Feed.COLUMN_LINEAGE),
            st.lists(model.column_edges, min_size=1, max_size=4).map(model.column_lineage_events).map(list),
        ),
    )
)
def test_every_body_fits_the_documents_schema(made: tuple[Feed, list[model.Event]]) -> None:
    feed, events = made
    assert wrong_in(SCHEMA_OF[feed], model.body(feed, events)) == []


STALE = [
    # Bodies that published examples show and that the document's own schema refuses.
    {"event_type": "RELATIONAL_ASSET", "resource": {"uuid": "u", "resource_type": "snowflake"}, "events": []},
    {
        "event_type": "METADATA",
        "resource": {"uuid": "u", "resource_type": "snowflake"},
        "events": [{"type": "TABLE", "metadata": {"name": "n", "database": "d", "schema": "s"}}],
    },
    {
        "event_type": "METADATA",
        "resource": {"uuid": "u", "resource_type": "snowflake"},
        "events": [
            {
                "relational_asset": {
                    "type": "TABLE",
                    "metadata": {"name": "n", "database": "d", "schema": "s"},
                    "freshness": {},
                }
            }
        ],
    },
    {
        "event_type": "METADATA",
        "resource": {"uuid": "u", "resource_type": "snowflake"},
        "events": [
            {"relational_asset": {"type": "BASE TABLE", "metadata": {"name": "n", "database": "d", "schema": "s"}}}
        ],
    },
]


@pytest.mark.parametrize("body", STALE)
def test_the_schema_refuses_what_is_wrong(body: dict[str, Any]) -> None:
    assert wrong_in("table", body) != []
