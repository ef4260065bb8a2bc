"""A desk with a sandbox on it: push here, read there."""

from __future__ import annotations

import orjson

from mc_push_dagster.flow.events import Event, envelope, metadata_event
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.graphql import GraphQLReader
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.model import AssetType, Column, TableRef, TableSnapshot, Target
from mc_push_dagster.sandbox import Sandbox


class Desk:
    """Pushes to a sandbox and reads from it."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        connection = Connection.to_sandbox(box)
        self.gateway, self.reader = IngestGateway(connection), GraphQLReader(connection)
        self.target = Target(resource_uuid=box.resource_uuid, resource_type="snowflake", log_type="snowflake")

    def push(self, events: list[Event]) -> str:
        feed = events[0].feed
        body = orjson.dumps({**envelope(feed, self.target), "events": [e.wire for e in events]})
        return self.gateway.send(feed, body)

    def push_tables(self, *names: str, columns: int = 1, rows: int | None = 5) -> str:
        return self.push([metadata_event(snapshot(n, columns=columns, rows=rows)) for n in names])

    def asked(self) -> int:
        return len(self.box.requests("graphql"))

    def close(self) -> None:
        self.gateway.close()
        self.reader.close()


def ref(name: str) -> TableRef:
    return TableRef(database="db", schema="public", name=name)


def snapshot(name: str, *, columns: int = 1, rows: int | None = 5) -> TableSnapshot:
    return TableSnapshot(
        ref=ref(name),
        asset_type=AssetType.TABLE,
        native_type="BASE TABLE",
        description="What it is",
        row_count=rows,
        columns=tuple(Column(name=f"c{i}", type="INTEGER") for i in range(columns)),
    )
