"""Names to tables: by the catalog where it knows them, else by the session's defaults."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from mc_push_dagster.lineage.catalog import Catalog, shard_forms
from mc_push_dagster.lineage.names import Name

_PARTS = 3
_KEPT = 5_000


class Lookup(Protocol):
    """What a name means."""

    def find(self, parts: Name, database: str | None, schema: str | None) -> tuple[Name, Sequence[str] | None]:
        """The full name in the catalog's own case, and the columns in order where they are known."""
        ...


def completed(parts: Name, database: str | None, schema: str | None) -> Name:
    """A name with what the session's defaults add to it."""
    if len(parts) >= _PARTS:
        return parts
    before = tuple(p for p in ((database, schema) if len(parts) == 1 else (database,)) if p)
    return (*before, *parts)


class CatalogLookup:
    """Names by a `Catalog`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._found: OrderedDict[tuple[Name, str | None, str | None], tuple[Name, Sequence[str] | None]] = OrderedDict()

    def find(self, parts: Name, database: str | None, schema: str | None) -> tuple[Name, Sequence[str] | None]:
        key = (parts, database, schema)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find(parts, database, schema)
            if len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found

    def _find(self, parts: Name, database: str | None, schema: str | None) -> tuple[Name, Sequence[str] | None]:
        ref = self._catalog.find(parts, database, schema)
        if ref is None:
            return completed(parts, database, schema), None
        columns = self._catalog.columns(ref)
        return ref.parts, None if columns is None else list(columns)


class SchemaLookup:
    """Names by a mapping of dotted names of any length to columns, as cases on standard input bring it."""

    def __init__(self, schemas: Mapping[str, Iterable[str]]) -> None:
        self._by_last: dict[str, list[tuple[Name, list[str]]]] = {}
        for dotted, columns in schemas.items():
            name = tuple(part.strip('"`[]') for part in dotted.split("."))
            self._by_last.setdefault(name[-1].lower(), []).append((name, list(columns)))

    def find(self, parts: Name, database: str | None, schema: str | None) -> tuple[Name, Sequence[str] | None]:
        for last in (parts[-1], *shard_forms(parts[-1])):
            found = self._find((*parts[:-1], last), database, schema)
            if found is not None:
                return found
        return completed(parts, database, schema), None

    def _find(self, parts: Name, database: str | None, schema: str | None) -> tuple[Name, list[str]] | None:
        full = completed(parts, database, schema)
        fits = [(name, columns) for name, columns in self._by_last.get(parts[-1].lower(), ()) if _fits(name, full)]
        if not fits:
            return None
        exact = [fit for fit in fits if fit[0][-1] == parts[-1]]
        name, columns = max(exact or fits, key=lambda fit: len(fit[0]))
        return (name if len(name) >= len(full) else (*full[: -len(name)], *name)), columns


def _fits(name: Name, full: Name) -> bool:
    """True if two names agree as far as both are known."""
    return all(a.lower() == b.lower() for a, b in zip(reversed(name), reversed(full), strict=False))


class Overlay:
    """Tables that the session itself made, in front of what the catalog says."""

    def __init__(self, behind: Lookup, columns: Mapping[Name, Sequence[str] | None]) -> None:
        self._behind = behind
        self._columns = {tuple(p.lower() for p in name): (name, found) for name, found in columns.items()}

    def find(self, parts: Name, database: str | None, schema: str | None) -> tuple[Name, Sequence[str] | None]:
        full = completed(parts, database, schema)
        for name in (full, parts):
            own = self._columns.get(tuple(p.lower() for p in name))
            if own is not None:
                return own
        return self._behind.find(parts, database, schema)
