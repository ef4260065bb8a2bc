"""Snowflake's catalog: databases, tables, columns, fingerprints, each a stream in order, what is unreadable as gaps."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import groupby

from mc_push_dagster.errors import FixAccess
from mc_push_dagster.model import (
    Fingerprint,
    Gap,
    Scope,
    TableColumns,
    TableRef,
    TableSnapshot,
    Tag,
)
from mc_push_dagster.warehouses import _snowflake_rows as rows
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster.warehouses import _snowflake_usage as usage
from mc_push_dagster.warehouses._snowflake_grants import grant_for, visibility
from mc_push_dagster.warehouses._snowflake_session import UNREADABLE, Denied, Key, Reader, Row, TooMuchData
from mc_push_dagster.warehouses._snowflake_settings import SnowflakeOptions

log = logging.getLogger(__name__)

SHOW_LIMIT = 10_000
"""SHOW commands answer no more rows than this (SQL reference, "SHOW <objects>", usage notes)."""

_STRUCTURED = ("ARRAY", "OBJECT", "MAP")


class Catalog:
    """Reads one account's catalog with one reader."""

    def __init__(self, reader: Reader, scope: Scope, options: SnowflakeOptions) -> None:
        self._reader = reader
        self._scope = scope
        self._options = options

    def tables(self, now: datetime) -> Iterator[TableSnapshot | Gap]:
        writes = yield from self._last_writes(now - timedelta(days=self._options.change_days))
        tags = yield from self._tags()
        for place in self._places():
            if isinstance(place, Gap):
                yield place
                continue
            texts = _OtherTexts(self._reader)
            seen: set[str] = set()
            for row in self._rows(place, sql.tables, _table_key):
                if isinstance(row, Gap):
                    yield row
                    continue
                ref = rows.ref(row)
                seen.add(ref.schema)
                yield rows.snapshot(
                    row,
                    written_at=writes.get(ref),
                    tags=tuple(tags.get(ref, ())),
                    other_text=texts.of(row),
                )
            yield from texts.gaps
            yield from self._missing_schemas(place, seen)

    def columns(self) -> Iterator[TableColumns | Gap]:
        for place in self._places(explain=False):
            if isinstance(place, Gap):
                yield place
                continue
            types = _NestedTypes(self._reader, place)
            for gap, table in groupby(
                self._rows(place, sql.columns, _column_key),
                key=lambda row: row if isinstance(row, Gap) else rows.ref(row),
            ):
                if isinstance(gap, Gap):
                    yield gap
                    continue
                columns = tuple(rows.column(row, types.of(row)) for row in table if not isinstance(row, Gap))
                yield TableColumns(ref=gap, columns=columns)
            yield from types.gaps

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        for place in self._places(explain=False):
            if isinstance(place, Gap):
                yield place
                continue
            items = list(self._rows(place, sql.fingerprint, lambda row: row["table_catalog"]))
            unread = [item for item in items if isinstance(item, Gap)]
            yield from unread
            if not unread:  # a digest of a part would look like drift
                yield from _fingerprints(place, [item for item in items if not isinstance(item, Gap)])

    def databases(self) -> list[str]:
        """The databases to read, in code-point order.

        Raises:
            FixAccess: if databases cannot even be listed.
        """
        skip = set(self._options.skip_databases)
        names = {str(row["name"]) for row in self._reader.all(sql.SHOW_DATABASES)} - skip
        return sorted(name for name in names if self._scope.covers_database(name))

    def _places(self, *, explain: bool = True) -> Iterator[sql.Place | Gap]:
        """Where to read; `explain` records what is asked for by name and cannot be seen (once a push is enough)."""
        if self._options.catalog == "account_usage":
            yield sql.Place()
            return
        names = self.databases()
        if explain:
            yield from self._missing_databases(names)
            if len(names) >= SHOW_LIMIT:
                yield Gap(
                    subject="SHOW DATABASES",
                    reason=f"it names at most {SHOW_LIMIT:,} databases; set catalog: account_usage to read all",
                )
        for name in names:
            yield sql.Place(database=name)

    def _rows(self, place: sql.Place, build: Callable[..., sql.Statement], key: Key) -> Iterator[Row | Gap]:
        """The rows of one place; where it is too much for one statement, schema by schema."""
        try:
            yield from self._reader.rows(build(place, self._scope, self._options.skip_databases), key=key)
            return
        except TooMuchData:
            if place.database is None or place.schema is not None:
                yield Gap(
                    subject=str(place), reason="it holds too much for INFORMATION_SCHEMA: set catalog: account_usage"
                )
                return
        except UNREADABLE as error:
            yield Gap(subject=str(place), reason=f"{error}; {grant_for(place, self._reader.role)}")
            return
        yield from self._by_schema(place.database, build, key)

    def _by_schema(self, database: str, build: Callable[..., sql.Statement], key: Key) -> Iterator[Row | Gap]:
        try:
            names = [str(row["schema_name"]) for row in self._reader.all(sql.schema_names(database))]
        except UNREADABLE as error:
            yield Gap(subject=database, reason=f"{error}; set catalog: account_usage")
            return
        for name in sorted(names):
            if name != "INFORMATION_SCHEMA" and self._scope.covers_schema(database, name):
                yield from self._rows(sql.Place(database=database, schema=name), build, key)

    def _missing_databases(self, names: list[str]) -> Iterator[Gap]:
        visible = {name.lower() for name in names}
        for pattern in self._scope.include:
            exact = not set("*?[") & set(pattern.database)
            if (
                exact
                and pattern.database.lower() not in visible
                and pattern.database not in self._options.skip_databases
            ):
                yield Gap(
                    subject=pattern.database,
                    reason=f"no such database can be seen; {visibility(pattern.database, self._reader.role)}",
                )

    def _missing_schemas(self, place: sql.Place, seen: set[str]) -> Iterator[Gap]:
        """INFORMATION_SCHEMA hides what the role may not see: a schema asked for by name and not there is a gap."""
        if place.database is None:
            return
        found = {name.lower() for name in seen}
        asked = {
            pattern.schema
            for pattern in self._scope.include
            if pattern.matches_database(place.database) and not set("*?[") & set(pattern.schema)
        }
        asked = {name for name in asked if name.lower() not in found}
        if not asked:
            return
        try:
            listed = {str(row["schema_name"]).lower() for row in self._reader.all(sql.schema_names(place.database))}
        except UNREADABLE:
            return  # the database itself is a gap already
        for name in sorted(name for name in asked if name.lower() not in listed):
            yield Gap(
                subject=f"{place.database}.{name}",
                reason=f"no such schema can be seen; {visibility(place.database, self._reader.role, schema=name)}",
            )

    def _last_writes(self, since: datetime) -> Iterator[Gap]:
        """Yield gaps; return the time of the last write by table."""
        found: dict[TableRef, datetime] = {}
        if self._options.access_history == "off":
            return found
        try:
            for row in self._reader.rows(usage.last_writes(since), key=lambda row: row["object_name"]):
                ref = rows.qualified(row["object_name"])
                if ref is not None and self._scope.covers(ref):
                    found[ref] = row["written_at"]
        except UNREADABLE as error:
            if self._options.access_history == "required" or not isinstance(error, Denied):
                yield Gap(
                    subject="SNOWFLAKE.ACCOUNT_USAGE.ACCESS_HISTORY", reason=_why(error, "ACCESS_HISTORY", self._reader)
                )
            else:
                log.info("Snowflake: ACCESS_HISTORY cannot be read; data changes come from LAST_ALTERED")
        return found

    def _tags(self) -> Iterator[Gap]:
        """Yield gaps; return the tags by table."""
        found: dict[TableRef, list[Tag]] = defaultdict(list)
        if not self._options.tags:
            return found
        try:
            for row in self._reader.rows(usage.tag_references(self._scope), key=_tag_key):
                ref = rows.ref(row, "object_", database="database")
                found[ref].append(Tag(key=row["tag_name"], value=row["tag_value"] or ""))
        except UNREADABLE as error:
            reason = f"{_why(error, 'TAG_REFERENCES', self._reader)}; or set tags: false"
            yield Gap(subject="SNOWFLAKE.ACCOUNT_USAGE.TAG_REFERENCES", reason=reason)
        return found


class _OtherTexts:
    """Texts that the VIEWS view does not hold: of materialized views and dynamic tables; read when one is met."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._found: dict[str, dict[tuple[str, str], str]] = {}
        self.gaps: list[Gap] = []

    def of(self, row: Row) -> str | None:
        if row["table_type"] == "MATERIALIZED VIEW":
            what = "MATERIALIZED VIEWS"
        elif rows.native_type(row).endswith("TABLE") and "DYNAMIC" in rows.native_type(row):
            what = "DYNAMIC TABLES"
        else:
            return None
        database = str(row["table_catalog"])
        known = f"{what} {database}"
        if known not in self._found:
            self._found[known] = self._read(what, database)
        return self._found[known].get((row["table_schema"], row["table_name"]))

    def _read(self, what: str, database: str) -> dict[tuple[str, str], str]:
        try:
            shown = self._reader.all(sql.show(what, database))
        except UNREADABLE as error:
            self.gaps.append(Gap(subject=f"{what} of {database}", reason=f"{error}; their texts are left out"))
            return {}
        return {(row["schema_name"], row["name"]): row["text"] for row in shown}


class _NestedTypes:
    """Types inside structured columns of one place, asked for when the first such column is met."""

    def __init__(self, reader: Reader, place: sql.Place) -> None:
        self._reader = reader
        self._place = place
        self._found: dict[tuple[str, str, str, str], list[Row]] | None = None
        self.gaps: list[Gap] = []

    def of(self, row: Row) -> rows.Types:
        if row["data_type"] not in _STRUCTURED or row["dtd_identifier"] is None:
            return {}
        if self._found is None:
            self._found = self._read()
        return self._found

    def _read(self) -> dict[tuple[str, str, str, str], list[Row]]:
        found: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
        for statement in (sql.element_types(self._place), sql.fields(self._place)):
            try:
                for row in self._reader.all(statement):
                    table = (row["object_catalog"], row["object_schema"], row["object_name"])
                    found[(*table, str(row["type_identifier"]))].append(row)
            except UNREADABLE as error:
                reason = f"{error}; structured types are written without what is inside"
                self.gaps.append(Gap(subject=f"structured types of {self._place}", reason=reason))
        return found


def _fingerprints(place: sql.Place, found: list[Row]) -> Iterator[Fingerprint]:
    """One digest a database; a database without columns has one too, so that its first table is a change."""
    if place.database is not None:
        parts = [f"{row['column_count']}:{row['digest']}" for row in found]
        yield Fingerprint(database=place.database, digest="+".join(parts) or "0:")
        return
    for row in found:
        yield Fingerprint(database=row["table_catalog"], digest=f"{row['column_count']}:{row['digest']}")


def _why(error: FixAccess | Exception, view: str, reader: Reader) -> str:
    return f"{error}; {grant_for(view, reader.role)}"


def _table_key(row: Row) -> tuple[str, str, str]:
    return (row["table_catalog"], row["table_schema"], row["table_name"])


def _tag_key(row: Row) -> tuple[str, ...]:
    return (
        *(row[f"object_{part}"] for part in ("database", "schema", "name")),
        row["tag_name"],
        row["tag_value"] or "",
    )


def _column_key(row: Row) -> tuple[str, str, str, int]:
    return (*_table_key(row), int(row["ordinal_position"]))
