"""Accepted bodies on their way in: they wait until they are visible, then become catalog, lineage and query log.

Monte Carlo answers 202 first and processes later (push-ingest-api, "typical latency"). So a body is kept as it came,
and whoever reads next settles what has become visible, in the order it arrived. There is one way in, delay or not.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from mc_push_dagster.sandbox.clock import VirtualClock, moment, stamp
from mc_push_dagster.sandbox.contract import COLUMN_LINEAGE_TTL, NEVER
from mc_push_dagster.sandbox.store import Store

Rows = list[tuple[Any, ...]]


class Intake:
    """Keeps accepted bodies and turns them into what readers see.

    `delay` is the time from the answer to visibility for metadata and lineage, `query_log_delay` for query logs.
    """

    def __init__(
        self,
        store: Store,
        clock: VirtualClock,
        *,
        account: str,
        delay: timedelta,
        query_log_delay: timedelta,
        lenient: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._account = account
        self._delays = {"metadata": delay, "lineage": delay, "querylogs": query_log_delay}
        self._lenient = lenient

    def accept(
        self,
        db: sqlite3.Connection,
        *,
        path: str,
        invocation: str,
        data: Mapping[str, Any],
        body: bytes,
        warehouses: Collection[str],
        now: datetime,
    ) -> None:
        """Keep a valid body; with no delay it is visible when the transaction ends."""
        delay = self._delays[path]
        kind = data["event_type"]
        at = stamp(now)
        db.execute(
            "INSERT INTO invocation (id, path, event_type, at, visible_at, events, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (invocation, path, kind, at, stamp(now + delay), len(data["events"]), body if delay else None),
        )
        feed = "LINEAGE" if kind == "COLUMN_LINEAGE" else "QUERY_LOGS" if kind == "QUERY_LOG" else kind
        db.executemany(
            "INSERT INTO receipt VALUES (?, ?, ?, ?, ?) ON CONFLICT (warehouse, event_type) DO UPDATE SET"
            " last_at = excluded.last_at, last_invocation = excluded.last_invocation",
            [(w, feed, at, at, invocation) for w in sorted(warehouses)],
        )
        if not delay:
            self._settle(db, now)
            self._apply(db, path=path, invocation=invocation, data=data, at=now)

    def settle(self) -> None:
        """Apply what has become visible by now; every reader calls this first."""
        now = self._clock.now()
        with self._store.read() as db:
            waiting = _next_due(db, now)
        if waiting:
            with self._store.write() as db:
                self._settle(db, now)

    def _settle(self, db: sqlite3.Connection, now: datetime) -> None:
        while row := _next_due(db, now):
            data = orjson.loads(row["payload"])
            self._apply(db, path=row["path"], invocation=row["id"], data=data, at=moment(row["at"]))

    def _apply(
        self, db: sqlite3.Connection, *, path: str, invocation: str, data: Mapping[str, Any], at: datetime
    ) -> None:
        apply = {"metadata": self._metadata, "lineage": self._lineage, "querylogs": self._query_logs}[path]
        notes = apply(db, data, invocation, at)
        db.execute(
            "UPDATE invocation SET applied = 1, payload = NULL, notes = ? WHERE id = ?",
            (json.dumps(notes) if notes else None, invocation),
        )

    def _metadata(self, db: sqlite3.Connection, data: Mapping[str, Any], invocation: str, at: datetime) -> list[str]:
        warehouse, when = data["resource"]["uuid"], stamp(at)
        assets: dict[str, tuple[Any, ...]] = {}
        versions: Rows = []
        samples: Rows = []
        named = [(mcon_of(self._account, warehouse, _ref(e)), e["relational_asset"]) for e in data["events"]]
        stored = _stored_fields(db, [m for m, _ in named])
        for mcon, asset in named:
            fields = orjson.dumps(asset["fields"]).decode() if asset.get("fields") else None
            if fields is not None and stored.get(mcon) != fields:
                versions.append((mcon, when, fields, invocation))
                stored[mcon] = fields
            assets[mcon] = _asset_row(mcon, warehouse, asset, fields or stored.get(mcon), invocation, when)
            volume, freshness = asset.get("volume", {}), asset.get("freshness")
            if volume or freshness:
                changed = stamp(moment(freshness["last_update_time"])) if freshness else None
                samples.append((mcon, when, volume.get("row_count"), volume.get("byte_count"), changed, invocation))
        db.executemany(_UPSERT_ASSET, assets.values())
        db.executemany("INSERT INTO schema_version (mcon, at, fields, invocation) VALUES (?, ?, ?, ?)", versions)
        db.executemany(
            "INSERT INTO sample (mcon, at, row_count, byte_count, last_update, invocation) VALUES (?, ?, ?, ?, ?, ?)",
            samples,
        )
        db.executemany(_UPSERT_NODE, [_node_row(m) for m in assets])
        return []

    def _lineage(self, db: sqlite3.Connection, data: Mapping[str, Any], invocation: str, at: datetime) -> list[str]:
        default = data["resource"]["uuid"] if "resource" in data else ""
        when, expires = stamp(at), stamp(at + COLUMN_LINEAGE_TTL)
        nodes: dict[str, None] = {}
        edges: Rows = []
        columns: Rows = []
        for event in data["events"]:
            destination = mcon_of(
                self._account, event["destination"].get("resource_uuid", default), event["destination"]
            )
            by_id: dict[str | None, str] = {}
            nodes[destination] = None
            for source in event["sources"]:
                mcon = mcon_of(self._account, source.get("resource_uuid", default), source)
                by_id[source.get("asset_id")] = mcon
                nodes[mcon] = None
                edges.append((mcon, destination, 0, "IS_DOWNSTREAM", NEVER, when, invocation))
            for field in event.get("fields", ()):
                for source in field["source_fields"]:
                    if origin := by_id.get(source["asset_id"]):
                        columns.append(
                            (origin, source["field_name"], destination, field["name"], expires, when, invocation)
                        )
        db.executemany(_UPSERT_NODE, [_node_row(m) for m in nodes])
        db.executemany(_UPSERT_EDGE, edges)
        kept, notes = self._catalogued(db, columns)
        db.executemany(_UPSERT_COLUMN_EDGE, kept)
        return notes

    def _catalogued(self, db: sqlite3.Connection, columns: Rows) -> tuple[Rows, list[str]]:
        """Split off column edges between tables the catalog does not hold (contract, "Lineage")."""
        if self._lenient or not columns:
            return columns, []
        wanted = {c[0] for c in columns} | {c[2] for c in columns}
        missing = sorted(wanted - _stored_fields(db, wanted).keys())
        if not missing:
            return columns, []
        kept = [c for c in columns if c[0] not in missing and c[2] not in missing]
        names = ", ".join(m.split("++", 4)[4] for m in missing[:5])
        dropped = len(columns) - len(kept)
        return kept, [f"{dropped} column edges were dropped: {len(missing)} tables are not in the catalog ({names})"]

    def _query_logs(self, db: sqlite3.Connection, data: Mapping[str, Any], invocation: str, at: datetime) -> list[str]:
        resource = data["resource"]
        texts: dict[str, str] = {}
        rows: Rows = []
        for entry in data["events"]:
            digest = hashlib.sha256(entry["query_text"].encode()).hexdigest()[:32]
            texts[digest] = entry["query_text"]
            code, extra = entry.get("error_code"), entry.get("extra")
            rows.append(
                (
                    *(resource["uuid"], resource["log_type"], invocation, digest),
                    *(stamp(moment(entry["start_time"])), stamp(moment(entry["end_time"]))),
                    *(entry.get("query_id"), entry.get("user"), entry.get("returned_rows")),
                    *(None if code is None else str(code), entry.get("error_text")),
                    orjson.dumps(extra).decode() if extra else None,
                )
            )
        db.executemany("INSERT OR IGNORE INTO query_text VALUES (?, ?)", texts.items())
        db.executemany(
            "INSERT INTO query (warehouse, log_type, invocation, hash, started_at, ended_at, query_id, user,"
            " returned_rows, error_code, error_text, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        return []


_UPSERT_ASSET = (
    "INSERT INTO asset VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (mcon) DO UPDATE SET"
    " type = excluded.type, description = excluded.description, view_query = excluded.view_query,"
    " created_on = excluded.created_on, tags = excluded.tags, fields = excluded.fields,"
    " invocation = excluded.invocation, last_seen = excluded.last_seen, deleted_at = NULL"
)
_UPSERT_NODE = (
    "INSERT INTO node VALUES (?, ?, ?, ?, 0, NULL, ?) ON CONFLICT (mcon) DO UPDATE SET expires_at = excluded.expires_at"
)
_UPSERT_EDGE = (
    "INSERT INTO edge VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, destination) DO UPDATE SET"
    " expires_at = max(expires_at, excluded.expires_at), last_seen = excluded.last_seen,"
    " invocation = excluded.invocation"
)
_UPSERT_COLUMN_EDGE = (
    "INSERT INTO column_edge VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " expires_at = excluded.expires_at, last_seen = excluded.last_seen, invocation = excluded.invocation"
)


def mcon_of(account: str, warehouse: str, ref: Mapping[str, Any]) -> str:
    """`MCON++account++warehouse++type++database:schema.name` (pycarlo's MCON parser)."""
    kind = "view" if ref["type"] == "VIEW" else "table"
    return f"MCON++{account}++{warehouse}++{kind}++{ref['database']}:{ref['schema']}.{ref['name']}"


def _ref(event: Mapping[str, Any]) -> dict[str, Any]:
    asset = event["relational_asset"]
    return {"type": asset["type"], **asset["metadata"]}


def _node_row(mcon: str) -> tuple[Any, ...]:
    _, _, _, kind, identity = mcon.split("++", 4)
    return (mcon, kind, identity, identity, NEVER)


def _asset_row(
    mcon: str, warehouse: str, asset: Mapping[str, Any], fields: str | None, invocation: str, when: str
) -> tuple[Any, ...]:
    names = asset["metadata"]
    return (
        *(mcon, warehouse, mcon.split("++", 4)[4], names["database"], names["schema"], names["name"], asset["type"]),
        *(names.get("description"), names.get("view_query"), names.get("created_on")),
        orjson.dumps(asset["tags"]).decode() if asset.get("tags") else None,
        *(fields, invocation, when, when),
    )


def _stored_fields(db: sqlite3.Connection, mcons: Collection[str]) -> dict[str, str | None]:
    """Catalogued tables among `mcons`, with their newest columns as stored."""
    found: dict[str, str | None] = {}
    for part in _parts(list(mcons), 500):
        marks = ", ".join("?" * len(part))
        found.update(db.execute(f"SELECT mcon, fields FROM asset WHERE mcon IN ({marks})", part).fetchall())  # noqa: S608
    return found


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _next_due(db: sqlite3.Connection, now: datetime) -> sqlite3.Row | None:
    return db.execute(
        "SELECT * FROM invocation WHERE applied = 0 AND payload IS NOT NULL AND visible_at <= ?"
        " ORDER BY visible_at, seq LIMIT 1",
        (stamp(now),),
    ).fetchone()
