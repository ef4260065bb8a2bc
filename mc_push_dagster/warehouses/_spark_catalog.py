"""Reads one Spark schema: in bulk where the server can, in chunks where it must, around what it cannot describe.

One table that Spark cannot parse makes the bulk calls fail for its whole schema (measured: a Hive `uniontype`);
SHOW TABLES still works, and the bulk calls take a list of names, so the bad one is found by halving.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from typing import TypeVar
from zoneinfo import ZoneInfo

from mc_push_dagster.model import Column
from mc_push_dagster.warehouses import _spark_information as information
from mc_push_dagster.warehouses._halving import Halving, Unread
from mc_push_dagster.warehouses._spark_information import DoubtfulError, Information, NeedsCommentError, Snapshot
from mc_push_dagster.warehouses._spark_names import SESSION_CATALOG
from mc_push_dagster.warehouses._thrift import Session, StatementError, pattern

BULK_TABLES = 5_000
BULK_COLUMNS = 150_000
"""Rows of one bulk answer that may stand in memory; a larger schema is read in chunks of tables."""
SNAPSHOT_CHUNK = 25
"""Tables in one UNION ALL over `.snapshots` (measured: 10 to 25 is the fastest, 50 three times slower)."""
T = TypeVar("T")


class _TooManyError(Exception):
    pass


def quote(identifier: str) -> str:
    """`identifier` in backticks, embedded ones doubled (Spark SQL reference, "Identifiers")."""
    return "`" + identifier.replace("`", "``") + "`"


def literal(value: str) -> str:
    """`value` as a Spark string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def unquoted(namespace: str) -> str:
    """A name as SHOW NAMESPACES prints it (in backticks where it is not plain), without them."""
    if len(namespace) > 1 and namespace.startswith("`") and namespace.endswith("`"):
        return namespace[1:-1].replace("``", "`")
    return namespace


def name_patterns(names: Sequence[str]) -> str:
    """The names as a SHOW TABLE EXTENDED pattern: `|` parts them, each is a regular expression."""
    return "|".join(re.sub(r"([^\w])", r"\\\1", name) for name in names)


class SchemaReader:
    """Reads the tables and columns of one namespace of one catalog, in order of name."""

    def __init__(self, session: Session, catalog: str, namespace: str, *, zone: ZoneInfo | None = None) -> None:
        self._session = session
        self._namespace = namespace
        self._zone = zone
        self._is_session_catalog = catalog == SESSION_CATALOG
        self._path = quote(namespace) if self._is_session_catalog else f"{quote(catalog)}.{quote(namespace)}"

    def qualified(self, table: str) -> str:
        """The table's quoted name, with its catalog where that is not the session's own."""
        return f"{self._path}.{quote(table)}"

    def names(self) -> list[str]:
        """The names of all tables and views, temporary ones left out, sorted.

        Raises:
            StatementError: if the server refuses.
        """
        found = {row[1] for row in self._session.rows(f"SHOW TABLES IN {self._path}") if row[0] and not row[2]}
        if not self._is_session_catalog:
            found |= set(self._views())
        return sorted(found)

    def views(self) -> Iterator[str]:
        """The names of all views, sorted.

        Raises:
            StatementError: if the server refuses.
        """
        if not self._is_session_catalog:
            yield from self._views()
            return
        rows = self._session.rows(f"SHOW VIEWS IN {self._path}")
        yield from sorted(row[1] for row in rows if row[0] and not row[2])

    def _views(self) -> list[str]:
        """SHOW TABLES names no views of a V2 catalog; a catalog without views may refuse the question."""
        try:
            rows = self._session.rows(f"SHOW VIEWS IN {self._path}")
            return sorted(row[1] for row in rows if row[0] and not row[2])
        except StatementError:
            return []

    def tables(self) -> Iterator[tuple[str, Information] | Unread]:
        """Every table with what Spark says of it, in order of name.

        Raises:
            StatementError: if not even the names can be listed.
        """
        if self._is_session_catalog:
            yield from self._in_bulk(self._extended)
            return
        names = self.names()
        for start in range(0, len(names), SNAPSHOT_CHUNK):
            yield from self._with_snapshots([self.describe(name) for name in names[start : start + SNAPSHOT_CHUNK]])

    def columns(self) -> Iterator[tuple[str, tuple[Column, ...]] | Unread]:
        """Every table's columns, in order of name.

        Raises:
            StatementError: if not even the names can be listed.
        """
        if self._is_session_catalog:
            yield from self._in_bulk(self._thrift_columns)
            return
        for name in self.names():
            found = self.describe(name)
            yield found if isinstance(found, Unread) else (name, found[1].columns)

    def describe(self, name: str) -> tuple[str, Information] | Unread:
        """One table by DESCRIBE TABLE EXTENDED: a call a table, with nothing that could be misread."""
        try:
            rows = list(self._session.rows(f"DESCRIBE TABLE EXTENDED {self.qualified(name)}"))
        except StatementError as error:
            return Unread(name, str(error))
        return name, information.described(rows, zone=self._zone)

    # -- in bulk --------------------------------------------------------------------------------------------------

    def _in_bulk(
        self, fetch: Callable[[Sequence[str] | None], list[tuple[str, T]]]
    ) -> Iterator[tuple[str, T] | Unread]:
        try:
            found = fetch(None)
        except (StatementError, _TooManyError):
            names = self.names()
        else:
            yield from found
            return
        yield from Halving(fetch).read(names)

    def _extended(self, names: Sequence[str] | None) -> list[tuple[str, Information]]:
        like = "*" if names is None else name_patterns(names)
        found: dict[str, Information] = {}
        commented: dict[str, str] = {}
        doubtful: list[str] = []
        with closing(self._session.rows(f"SHOW TABLE EXTENDED IN {self._path} LIKE {literal(like)}")) as rows:
            for namespace, name, is_temporary, text in rows:
                if is_temporary or not namespace:
                    continue
                if names is None and len(found) + len(commented) + len(doubtful) >= BULK_TABLES:
                    raise _TooManyError
                try:
                    found[name] = information.parse(text, zone=self._zone)
                except NeedsCommentError:
                    commented[name] = text
                except DoubtfulError:
                    doubtful.append(name)
        found |= self._with_comments(commented, names, doubtful)
        found |= self._settled(doubtful)
        return sorted(found.items())

    def _with_comments(
        self, texts: dict[str, str], names: Sequence[str] | None, doubtful: list[str]
    ) -> dict[str, Information]:
        """Read texts whose comment may hold lines that look like measures: one more bulk call tells the comments."""
        if not texts:
            return {}
        like = "%" if names is None else "|".join(pattern(name) for name in names)
        remarks = {row[2]: row[4] or "" for row in self._session.table_rows(self._namespace, like)}
        found: dict[str, Information] = {}
        for name, text in texts.items():
            try:
                found[name] = information.parse(text, comment=remarks.get(name, ""), zone=self._zone)
            except (DoubtfulError, NeedsCommentError):
                doubtful.append(name)
        return found

    def _settled(self, doubtful: Sequence[str]) -> dict[str, Information]:
        described = [self.describe(name) for name in sorted(doubtful)]
        settled = self._with_snapshots(described)
        # A table that vanished in between is not there any more: nothing to tell.
        return dict(item for item in settled if not isinstance(item, Unread))

    def _thrift_columns(self, names: Sequence[str] | None) -> list[tuple[str, tuple[Column, ...]]]:
        like = "%" if names is None else "|".join(pattern(name) for name in names)
        found: list[tuple[str, int, Column]] = []
        with closing(self._session.column_rows(self._namespace, like)) as rows:
            for row in rows:
                if row[1] is None or row[1] == "global_temp":  # a temporary view
                    continue
                if names is None and len(found) >= BULK_COLUMNS:
                    raise _TooManyError
                # The ordinal starts at 0 in Spark 3.5 and at 1 in 4: it only sorts.
                found.append((row[2], row[16], Column(name=row[3], type=row[5], description=row[11] or None)))
        found.sort(key=lambda item: item[:2])
        return [(name, tuple(item[2] for item in group)) for name, group in groupby(found, key=lambda item: item[0])]

    # -- Iceberg in catalogs that tell only the snapshot's id ------------------------------------------------------

    def _with_snapshots(
        self, described: Sequence[tuple[str, Information] | Unread]
    ) -> Iterator[tuple[str, Information] | Unread]:
        wanted = {d[0]: d[1].snapshot_id for d in described if not isinstance(d, Unread)}
        known: dict[str, Snapshot] = {}
        with_id = [(name, snapshot) for name, snapshot in wanted.items() if snapshot is not None]
        for start in range(0, len(with_id), SNAPSHOT_CHUNK):
            known |= self._snapshots(with_id[start : start + SNAPSHOT_CHUNK])
        for item in described:
            if isinstance(item, Unread) or item[0] not in known:
                yield item
            else:
                yield item[0], replace(item[1], snapshot=known[item[0]])

    def _snapshots(self, wanted: Sequence[tuple[str, int]]) -> dict[str, Snapshot]:
        """Time and counts of these snapshots; a table whose snapshots may not be read is left out, by halving."""
        each = " UNION ALL ".join(
            f"SELECT {i}, unix_millis(committed_at), to_json(summary) FROM {self.qualified(name)}.snapshots "  # noqa: S608 - quoted; the id is an int
            f"WHERE snapshot_id = {snapshot:d}"
            for i, (name, snapshot) in enumerate(wanted)
        )
        try:
            rows = list(self._session.rows(each))
        except StatementError:
            if len(wanted) == 1:
                return {}
            half = len(wanted) // 2
            return self._snapshots(wanted[:half]) | self._snapshots(wanted[half:])
        return {
            wanted[i][0]: replace(information.snapshot_of(json.loads(text or "{}")), at=information.from_millis(millis))
            for i, millis, text in rows
        }
