"""Tables as they were read and pushed: schemas, hourly samples, the hour's claims, tombstones, fingerprints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from mc_push_dagster.ledger import tables as t
from mc_push_dagster.ledger.database import Database
from mc_push_dagster.ledger.records import Claim, PushedTable, Sample, TableDigests, TableRecord
from mc_push_dagster.model import AssetType, Column, Fingerprint, TableRef, TableSnapshot, hour_bucket

Item = TypeVar("Item")

_CHUNK = 500
"""Rows in one statement: far below the parameter limits of both databases (32,766 and 65,535)."""


class Inventory:
    """The part of the ledger that knows each table of a resource."""

    _database: Database

    def note_tables(
        self,
        target_uuid: str,
        snapshots: Sequence[TableSnapshot],
        *,
        digests: Mapping[TableRef, str],
        seen_at: datetime,
    ) -> None:
        """Remember that a catalog listed these tables, and their schemas as long as none of them was pushed yet.

        `digests` holds `flow.drift.schema_digest` of each table whose columns were read.
        """
        rows = sorted(
            (
                {
                    "table_id": t.table_id(target_uuid, s.ref),
                    "target_uuid": target_uuid,
                    "database_name": s.ref.database,
                    "schema_name": s.ref.schema,
                    "table_name": s.ref.name,
                    "asset_type": s.asset_type.value,
                    "native_type": s.native_type,
                    "schema_json": _dump_columns(s.columns) if s.columns is not None else None,
                    "digest": digests.get(s.ref),
                    "first_seen": seen_at,
                    "last_seen": seen_at,
                }
                for s in snapshots
            ),
            key=_by_id,  # one order for all processes: no deadlock
        )
        insert = self._database.insert(t.tables)
        new, old = insert.excluded, t.tables.c
        keep_pushed = old.pushed_digest.is_not(None) | new.digest.is_(None)
        upsert = insert.on_conflict_do_update(
            index_elements=["table_id"],
            set_={
                "asset_type": new.asset_type,
                "native_type": new.native_type,
                "last_seen": new.last_seen,
                "gone_since": None,
                "schema_json": sa.case((keep_pushed, old.schema_json), else_=new.schema_json),
                "digest": sa.case((keep_pushed, old.digest), else_=new.digest),
            },
        )
        if rows:
            with self._database.write() as connection:
                connection.execute(upsert, rows)

    def known(self, target_uuid: str, refs: Iterable[TableRef]) -> dict[TableRef, TableRecord]:
        """What the ledger knows of each of `refs` that a catalog has listed before."""
        found: dict[TableRef, TableRecord] = {}
        with self._database.read() as connection:
            for chunk in _chunks([t.table_id(target_uuid, ref) for ref in refs]):
                query = sa.select(t.tables).where(t.tables.c.table_id.in_(chunk), t.tables.c.last_seen.is_not(None))
                for row in connection.execute(query):
                    record = _table(row)
                    found[record.ref] = record
        return found

    def digests(self, target_uuid: str, refs: Iterable[TableRef]) -> dict[TableRef, TableDigests]:
        """Like `known`, without reading the schemas themselves."""
        by_id = {t.table_id(target_uuid, ref): ref for ref in refs}
        c = t.tables.c
        found: dict[TableRef, TableDigests] = {}
        with self._database.read() as connection:
            for chunk in _chunks(list(by_id)):
                query = sa.select(c.table_id, c.digest, c.pushed_digest, c.gone_since)
                for row in connection.execute(query.where(c.table_id.in_(chunk), c.last_seen.is_not(None))):
                    found[by_id[row.table_id]] = TableDigests(
                        digest=row.digest, pushed_digest=row.pushed_digest, gone=row.gone_since is not None
                    )
        return found

    def schema_of(self, target_uuid: str, ref: TableRef) -> TableRecord | None:
        """What the ledger knows of one table, its schema included."""
        return self.known(target_uuid, [ref]).get(ref)

    def tables(self, target_uuid: str, *, gone: bool | None = None) -> Iterator[TableRecord]:
        """All tables that a catalog listed; `gone` True only tombstones, False none. One row at a time."""
        query = sa.select(t.tables).where(t.tables.c.target_uuid == target_uuid, t.tables.c.last_seen.is_not(None))
        if gone is not None:
            query = query.where(t.tables.c.gone_since.is_not(None) if gone else t.tables.c.gone_since.is_(None))
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=_CHUNK).execute(query):
                yield _table(row)

    def table_count(self, target_uuid: str) -> int:
        """How many tables the last catalogs listed."""
        query = sa.select(sa.func.count()).where(
            t.tables.c.target_uuid == target_uuid, t.tables.c.last_seen.is_not(None), t.tables.c.gone_since.is_(None)
        )
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def bury(
        self, target_uuid: str, *, not_seen_since: datetime, covered: Callable[[TableRef], bool], at: datetime
    ) -> tuple[TableRecord, ...]:
        """Put a tombstone on each table that no catalog listed since then and that is `covered`; only after a complete
        catalog.

        Returns those that got one now. Nothing is deleted: an explicit reconcile does that (design §5.6).
        """
        query = sa.select(t.tables).where(
            t.tables.c.target_uuid == target_uuid,
            t.tables.c.last_seen < not_seen_since,
            t.tables.c.gone_since.is_(None),
        )
        with self._database.write() as connection:
            lost = [record for record in map(_table, connection.execute(query)) if covered(record.ref)]
            for chunk in _chunks([t.table_id(target_uuid, record.ref) for record in lost]):
                connection.execute(sa.update(t.tables).where(t.tables.c.table_id.in_(chunk)).values(gone_since=at))
        return tuple(lost)

    def claim(self, target_uuid: str, refs: Iterable[TableRef], *, hour: datetime, push_id: str) -> frozenset[TableRef]:
        """Claim a UTC hour's volume and freshness of tables for a push; return those that it holds now.

        Of any number of pushes, in any number of processes, exactly one gets each table and hour (push-ingest-api,
        "Push frequency"). Claiming again what the push holds already is no change.
        """
        by_id = {t.table_id(target_uuid, ref): ref for ref in refs}
        hour = hour_bucket(hour)
        held: set[TableRef] = set()
        insert = self._database.insert(t.claims).on_conflict_do_nothing(index_elements=["table_id", "hour"])
        with self._database.write() as connection:
            for chunk in _chunks(sorted(by_id)):
                connection.execute(
                    insert, [{"table_id": i, "hour": hour, "push_id": push_id, "settled": False} for i in chunk]
                )
                mine = sa.select(t.claims.c.table_id).where(
                    t.claims.c.table_id.in_(chunk), t.claims.c.hour == hour, t.claims.c.push_id == push_id
                )
                held.update(by_id[i] for i in connection.scalars(mine))
        return frozenset(held)

    def claimants(self, target_uuid: str, refs: Iterable[TableRef], *, hour: datetime) -> dict[TableRef, Claim]:
        """Who holds the hour's claim of each of `refs`; unclaimed ones are left out."""
        by_id = {t.table_id(target_uuid, ref): ref for ref in refs}
        found: dict[TableRef, Claim] = {}
        with self._database.read() as connection:
            for chunk in _chunks(sorted(by_id)):
                query = sa.select(t.claims).where(t.claims.c.table_id.in_(chunk), t.claims.c.hour == hour_bucket(hour))
                found.update(
                    {by_id[r.table_id]: Claim(push_id=r.push_id, settled=r.settled) for r in connection.execute(query)}
                )
        return found

    def claims(self, target_uuid: str, hour: datetime) -> dict[TableRef, str]:
        """All claims of one UTC hour: table -> push id."""
        query = (
            sa.select(t.tables, t.claims.c.push_id)
            .join(t.claims, t.claims.c.table_id == t.tables.c.table_id)
            .where(t.tables.c.target_uuid == target_uuid, t.claims.c.hour == hour_bucket(hour))
        )
        with self._database.read() as connection:
            return {_ref(row): row.push_id for row in connection.execute(query)}

    def release(self, target_uuid: str, push_id: str, *, keep: Iterable[TableRef] = ()) -> None:
        """Give back a push's claims of tables that did not arrive, save those of `keep` (they may have arrived)."""
        kept = {t.table_id(target_uuid, ref) for ref in keep}
        mine = sa.select(t.claims.c.table_id).where(t.claims.c.push_id == push_id, t.claims.c.settled.is_(False))
        with self._database.write() as connection:
            ids = sorted(i for i in connection.scalars(mine) if i not in kept)
            for chunk in _chunks(ids):
                connection.execute(
                    sa.delete(t.claims).where(t.claims.c.table_id.in_(chunk), t.claims.c.push_id == push_id)
                )

    def forget_claims(self, before: datetime) -> None:
        """Drop claims of hours before `before`: a past hour is never pushed again, and its samples stay."""
        with self._database.write() as connection:
            connection.execute(sa.delete(t.claims).where(t.claims.c.hour < hour_bucket(before)))

    def record_metadata(
        self, target_uuid: str, pushed: Iterable[PushedTable], *, push_id: str, seq: int, hour: datetime, at: datetime
    ) -> None:
        """Record what an acknowledged metadata body said, schemas and samples, and that this is done; once, whenever
        called.
        """
        pushed = sorted(pushed, key=lambda p: t.table_id(target_uuid, p.ref))
        schemas = [
            {
                "b_id": t.table_id(target_uuid, p.ref),
                "schema_json": _dump_columns(p.columns or ()),
                "digest": p.digest,
                "pushed_digest": p.digest,
                "pushed_at": at,
            }
            for p in pushed
            if p.digest is not None
        ]
        measured = [{"b_id": t.table_id(target_uuid, p.ref), "pushed_at": at} for p in pushed if p.digest is None]
        samples = [
            {
                "table_id": t.table_id(target_uuid, p.ref),
                "hour": hour_bucket(hour),
                "row_count": p.row_count,
                "byte_count": p.byte_count,
                "changed_at": p.changed_at,
                "push_id": push_id,
                "received_at": at,
            }
            for p in pushed
            if p.measured
        ]
        update = sa.update(t.tables).where(t.tables.c.table_id == sa.bindparam("b_id"))
        settle = (
            sa.update(t.claims)
            .where(t.claims.c.table_id == sa.bindparam("b_id"), t.claims.c.push_id == push_id)
            .values(settled=True)
        )
        insert = self._database.insert(t.samples).on_conflict_do_nothing(index_elements=["table_id", "hour"])
        with self._database.write() as connection:
            if schemas:
                connection.execute(update, schemas)
            if measured:
                connection.execute(update, measured)
            if samples:
                connection.execute(insert, samples)
            if pushed:
                connection.execute(settle, [{"b_id": t.table_id(target_uuid, p.ref)} for p in pushed])
            mark_applied(connection, push_id, seq)

    def samples(
        self, target_uuid: str, *, ref: TableRef | None = None, since: datetime | None = None
    ) -> Iterator[Sample]:
        """Samples in order of table and hour, one row at a time; of one table, or of all."""
        query = (
            sa.select(t.samples, t.tables.c.database_name, t.tables.c.schema_name, t.tables.c.table_name)
            .join(t.tables, t.tables.c.table_id == t.samples.c.table_id)
            .where(t.tables.c.target_uuid == target_uuid)
            .order_by(t.samples.c.table_id, t.samples.c.hour)
        )
        if ref is not None:
            query = query.where(t.samples.c.table_id == t.table_id(target_uuid, ref))
        if since is not None:
            query = query.where(t.samples.c.hour >= since)
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=_CHUNK).execute(query):
                yield Sample(
                    ref=_ref(row),
                    hour=row.hour,
                    row_count=row.row_count,
                    byte_count=row.byte_count,
                    changed_at=row.changed_at,
                    push_id=row.push_id,
                    received_at=row.received_at,
                )

    def fingerprints(self, target_uuid: str) -> dict[str, tuple[Fingerprint, datetime]]:
        """The last fingerprint of each database, and when it was taken."""
        query = sa.select(t.fingerprints).where(t.fingerprints.c.target_uuid == target_uuid)
        with self._database.read() as connection:
            return {
                row.database_name: (Fingerprint(database=row.database_name, digest=row.digest), row.taken_at)
                for row in connection.execute(query)
            }

    def set_fingerprints(self, target_uuid: str, fingerprints: Iterable[Fingerprint], *, taken_at: datetime) -> None:
        """Remember the fingerprints of a resource's databases in place of all before."""
        rows = [
            {"target_uuid": target_uuid, "database_name": f.database, "digest": f.digest, "taken_at": taken_at}
            for f in fingerprints
        ]
        with self._database.write() as connection:
            connection.execute(sa.delete(t.fingerprints).where(t.fingerprints.c.target_uuid == target_uuid))
            if rows:
                connection.execute(sa.insert(t.fingerprints), rows)


def mark_applied(connection: sa.Connection, push_id: str, seq: int) -> None:
    """Within a transaction: a body's consequences stand in the ledger."""
    connection.execute(
        sa.update(t.batches).where(t.batches.c.push_id == push_id, t.batches.c.seq == seq).values(applied=True)
    )


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def _by_id(row: Mapping[str, Any]) -> int:
    return row["table_id"]


def _dump_columns(columns: Iterable[Column]) -> str:
    return orjson.dumps(
        [[c.name, c.type, c.description] if c.description else [c.name, c.type] for c in columns]
    ).decode()


def _load_columns(text: str | None) -> tuple[Column, ...] | None:
    if text is None:
        return None
    return tuple(Column(name=c[0], type=c[1], description=c[2] if len(c) > 2 else None) for c in orjson.loads(text))


def _ref(row: Any) -> TableRef:
    return TableRef(database=row.database_name, schema=row.schema_name, name=row.table_name)


def _table(row: Any) -> TableRecord:
    return TableRecord(
        ref=_ref(row),
        asset_type=AssetType(row.asset_type),
        native_type=row.native_type,
        columns=_load_columns(row.schema_json),
        digest=row.digest,
        pushed_digest=row.pushed_digest,
        pushed_at=row.pushed_at,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        gone_since=row.gone_since,
    )
