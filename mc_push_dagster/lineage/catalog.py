"""The catalog as lineage sees it: which tables there are, with which columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from mc_push_dagster.model import TableRef

_SHARD = re.compile(r"(.*?)_?\d{8}$")
_WILDCARD = re.compile(r"(.*?)_?\d*\*$")


class Catalog(Protocol):
    """Tables and their columns; answers are in the warehouse's own case."""

    def columns(self, ref: TableRef) -> Mapping[str, str] | None:
        """Column name -> type, in the table's order; None if the table or its columns are unknown."""
        ...

    def find(self, parts: Sequence[str], database: str | None, schema: str | None) -> TableRef | None:
        """The table that a name of one to three parts means in a session with these defaults; None if there is none."""
        ...


class DictCatalog:
    """A catalog in memory. Names match exactly first, then without regard to case where that is unambiguous."""

    def __init__(self, tables: Mapping[TableRef, Mapping[str, str] | None]) -> None:
        self._tables = dict(tables)
        self._folded: dict[tuple[str, str, str], TableRef | None] = {}
        self._by_name: dict[str, list[TableRef]] = {}
        for ref in self._tables:
            key = _fold(ref)
            self._folded[key] = None if key in self._folded else ref
            self._by_name.setdefault(key[2], []).append(ref)

    def columns(self, ref: TableRef) -> Mapping[str, str] | None:
        return self._tables.get(ref)

    def find(self, parts: Sequence[str], database: str | None, schema: str | None) -> TableRef | None:
        *before, name = parts
        if not name or len(before) > 2:
            return None
        wanted = (before[-2] if len(before) > 1 else database, before[-1] if before else schema)
        found = self._lookup(wanted[0], wanted[1], name)
        for form in () if found is not None else shard_forms(name):
            found = found or self._lookup(wanted[0], wanted[1], form)
        if found is None and name.endswith("*"):
            found = self._newest_shard(wanted[0], wanted[1], name[:-1].lower())
        return found

    def _lookup(self, database: str | None, schema: str | None, name: str) -> TableRef | None:
        if database is not None and schema is not None:
            exact = TableRef(database=database, schema=schema, name=name)
            return exact if exact in self._tables else self._folded.get(_fold(exact))
        found = [ref for ref in self._by_name.get(name.lower(), ()) if _agrees(ref, database, schema)]
        return found[0] if len(found) == 1 else None

    def _newest_shard(self, database: str | None, schema: str | None, prefix: str) -> TableRef | None:
        shards = [
            ref
            for name, refs in self._by_name.items()
            if name.startswith(prefix)
            for ref in refs
            if _agrees(ref, database, schema)
        ]
        return max(shards, default=None)


def shard_forms(name: str) -> tuple[str, ...]:
    """The names under which a catalog may keep all date shards of a BigQuery table as one."""
    shard = _SHARD.match(name) or _WILDCARD.match(name)
    return (f"{shard[1]}_yyyymmdd", f"{shard[1]}_*") if shard is not None and shard[1] else ()


def _fold(ref: TableRef) -> tuple[str, str, str]:
    return (ref.database.lower(), ref.schema.lower(), ref.name.lower())


def _agrees(ref: TableRef, database: str | None, schema: str | None) -> bool:
    return (database is None or ref.database.lower() == database.lower()) and (
        schema is None or ref.schema.lower() == schema.lower()
    )
