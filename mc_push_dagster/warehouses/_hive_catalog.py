"""Reads one Hive database: SHOW TABLE EXTENDED for files, GetTables for kinds and comments, GetColumns for columns;
all bulk.

Hive's SHOW TABLE EXTENDED lists each table's files, so it knows bytes and the last file change without statistics
(genuine output of Hive 2.3.9 in the golden files). `numRows` stands in DESCRIBE FORMATTED only and is often a false
0: whoever writes without updating the metastore leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from mc_push_dagster.model import Column
from mc_push_dagster.warehouses._halving import Halving, Unread
from mc_push_dagster.warehouses._spark_information import created, from_millis
from mc_push_dagster.warehouses._thrift import Session, StatementError, pattern

_WITH_PARAMETERS = frozenset({"DECIMAL", "VARCHAR", "CHAR", "NUMERIC"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HiveTable:
    """What Hive tells about one table or view."""

    name: str
    kind: str = "TABLE"
    comment: str | None = None
    byte_count: int | None = None
    row_count: int | None = None
    changed_at: datetime | None = None
    created_at: datetime | None = None
    view_text: str | None = None

    @property
    def is_view(self) -> bool:
        return "VIEW" in self.kind


def quote(identifier: str) -> str:
    """`identifier` in backticks, embedded ones doubled (Hive LanguageManual, "DDL: quoted identifiers")."""
    return "`" + identifier.replace("`", "``") + "`"


def extended(rows: Iterator[tuple[Any, ...]]) -> dict[str, HiveTable]:
    """Read SHOW TABLE EXTENDED of Hive: a `key:value` a row, a blank row after each table."""
    found: dict[str, HiveTable] = {}
    facts: dict[str, str] = {}
    for row in (*rows, ("",)):
        key, colon, value = (row[0] or "").partition(":")
        if colon:
            facts.setdefault(key, value)
        elif "tableName" in facts:
            table = _files(facts)
            found[table.name] = table
            facts = {}
    return found


def _files(facts: dict[str, str]) -> HiveTable:
    def number(key: str) -> int | None:
        value = facts.get(key, "")
        return int(value) if value.isdigit() else None  # `unknown` where the files may not be listed

    size, files, at = number("totalFileSize"), number("totalNumberFiles"), facts.get("lastUpdateTime", "")
    changed = from_millis(at) if files and at.isdigit() and int(at) > 0 else None
    return HiveTable(name=facts["tableName"], byte_count=size, changed_at=changed)


def formatted(rows: Iterator[tuple[Any, ...]], table: HiveTable, *, zone: ZoneInfo | None) -> HiveTable:
    """`table` with what DESCRIBE FORMATTED adds: rows, created time, view text."""
    facts: dict[str, str] = {}
    for row in rows:
        key, value, third = (str(cell or "") for cell in (*row, "", "", "")[:3])
        name = key.strip() or value.strip()
        facts.setdefault(name.removesuffix(":"), (value if key.strip() else third).strip())
    rows_known = facts.get("numRows", "")
    count = int(rows_known) if rows_known.isdigit() else None
    if count == 0 and table.byte_count != 0:
        count = None
    return replace(
        table,
        kind=facts.get("Table Type") or table.kind,
        row_count=None if table.is_view else count,
        created_at=created(facts.get("CreateTime"), zone),
        view_text=facts.get("View Original Text") or None,
    )


class DatabaseReader:
    """Reads the tables and columns of one database, in order of name."""

    def __init__(self, session: Session, database: str, *, zone: ZoneInfo | None, describe_all: bool) -> None:
        self._session = session
        self._database = database
        self._zone = zone
        self._describe_all = describe_all

    def qualified(self, table: str) -> str:
        """The table's quoted name."""
        return f"{quote(self._database)}.{quote(table)}"

    def names(self) -> list[str]:
        """The names of all tables and views, sorted."""
        return sorted({row[0] for row in self._session.rows(f"SHOW TABLES IN {quote(self._database)}")})

    def views(self) -> Iterator[str]:
        """The names of all views, sorted."""
        yield from sorted(row[2] for row in self._session.table_rows(self._database) if "VIEW" in row[3])

    def tables(self) -> Iterator[HiveTable | Unread]:
        """Every table, in order of name.

        Raises:
            StatementError: if not even the names can be listed.
        """
        for table in self._all(self._tables):
            if isinstance(table, HiveTable) and (table.is_view or self._describe_all):
                yield self._described(table)
            else:
                yield table

    def columns(self) -> Iterator[tuple[str, tuple[Column, ...]] | Unread]:
        """Every table's columns, in order of name.

        Raises:
            StatementError: if not even the names can be listed.
        """
        yield from self._all(self._columns)

    def _all(self, fetch: Any) -> Iterator[Any]:
        try:
            yield from fetch(None)
        except StatementError:
            yield from Halving(fetch).read(self.names())

    def _tables(self, names: Sequence[str] | None) -> list[HiveTable]:
        like = "*" if names is None else "|".join(names)
        files = extended(self._session.rows(f"SHOW TABLE EXTENDED IN {quote(self._database)} LIKE '{_text(like)}'"))
        for row in self._session.table_rows(self._database, _like(names)):
            if row[2] in files:
                files[row[2]] = replace(files[row[2]], kind=row[3], comment=row[4] or None)
        return [
            replace(t, byte_count=None, changed_at=None) if t.is_view else t for t in sorted(files.values(), key=_name)
        ]

    def _described(self, table: HiveTable) -> HiveTable:
        try:
            return formatted(
                self._session.rows(f"DESCRIBE FORMATTED {self.qualified(table.name)}"), table, zone=self._zone
            )
        except StatementError:
            return table  # what the bulk calls told stands

    def _columns(self, names: Sequence[str] | None) -> list[tuple[str, tuple[Column, ...]]]:
        rows = sorted(self._session.column_rows(self._database, _like(names)), key=lambda row: (row[2], row[16]))
        return [(name, tuple(_column(row) for row in group)) for name, group in groupby(rows, key=lambda row: row[2])]


def _name(table: HiveTable) -> str:
    return table.name


def _like(names: Sequence[str] | None) -> str:
    return "%" if names is None else "|".join(pattern(name) for name in names)


def _text(value: str) -> str:
    return re.sub(r"(['\\])", r"\\\1", value)


def _column(row: tuple[Any, ...]) -> Column:
    """HiveServer2 gives `DECIMAL` with size and digits apart (GetColumnsOperation), nested types in full."""
    kind, size, digits = row[5], row[6], row[8]
    if kind.upper() in _WITH_PARAMETERS and size is not None:
        kind = f"{kind}({size},{digits})" if kind.upper() in ("DECIMAL", "NUMERIC") else f"{kind}({size})"
    return Column(name=row[3], type=kind, description=row[11] or None)
