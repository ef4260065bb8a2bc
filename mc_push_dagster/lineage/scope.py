"""One SELECT's view of the world: its sources, and which of them a column name means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.relations import NOTHING, Output, Relation, Sources, Spread, Table

# Columns that warehouses add to every table and no catalog lists.
PSEUDO_COLUMNS = frozenset(
    {
        *("_partitiontime", "_partitiondate", "_table_suffix", "_file_name"),
        *("metadata$action", "metadata$isupdate", "metadata$row_id", "metadata$filename", "metadata$file_row_number"),
        *("rownum", "rowid", "ctid", "xmin", "xmax", "tableoid", "_metadata", "input__file__name", "grouping__id"),
    }
)


@dataclass(slots=True)
class Entry:
    """One item of a FROM clause."""

    names: tuple[str, ...]
    """The ways to call it, in lower case: its alias, or its table name with fewer and more parts."""
    relation: Relation
    formal: tuple[str, ...] = ()
    """The table's own names where an alias hides them; sloppy SQL uses them all the same."""
    hidden: bool = False
    """True for the right side of a semi or anti join: conditions see it, stars do not."""


@dataclass(slots=True)
class Scope:
    """The sources of one SELECT; `outer` is the query around it, which a correlated subquery may use."""

    ctes: dict[str, Relation]
    outer: Scope | None = None
    entries: list[Entry] = field(default_factory=list)
    using: dict[str, Sources] = field(default_factory=dict)
    """Columns that a USING or NATURAL join merged, by lower-case name."""
    aliases: dict[str, Output] = field(default_factory=dict)
    """Select items so far, by lower-case alias."""
    aliases_usable: bool = False

    def chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def entry(self, *path: str) -> Entry | None:
        """The source called by a dotted path, here or in a query around."""
        wanted = ".".join(path).lower()
        for scope in self.chain():
            for entry in scope.entries:
                if wanted in entry.names:
                    return entry
        return None

    def column(self, parts: Sequence[str]) -> Sources | None:
        """Where the values of a column come from, called by its name with any qualifiers and struct fields.

        None means that it cannot be told.
        """
        for length in range(len(parts) - 1, 0, -1):
            entry = self.entry(*parts[:length])
            if entry is not None:
                return _qualified(entry.relation, parts[length:])
        found = self._sure(parts[0])
        if found is not None:
            return _with_fields(found, parts)
        for length in range(len(parts) - 1, 0, -1):
            entry = self._formal(parts[:length])
            if entry is not None:
                return _qualified(entry.relation, parts[length:])
        if parts[0].lower() in PSEUDO_COLUMNS:
            return NOTHING
        if len(parts) == 1 and (row := self._row(parts[0], aliased=True)) is not None:
            return row
        for scope in self.chain():
            weak = [
                (e.hidden, sources)
                for e in scope.entries
                if not e.relation.closed and (sources := e.relation.column(parts[0])) is not None
            ]
            # The right side of a semi join and the target of a merge are meant only if nothing else can be.
            weak = [w for w in weak if not w[0]] or weak
            if weak:
                return _with_fields(weak[0][1], parts) if len(weak) == 1 else None
        return (self._row(parts[0]) if len(parts) == 1 else None) or self._guess(parts[0])

    def source(self, *path: str) -> Entry | None:
        """The source called by a dotted path, by the name that an alias hides if need be."""
        return self.entry(*path) or self._formal(path)

    def _formal(self, path: Sequence[str]) -> Entry | None:
        wanted = ".".join(path).lower()
        return next((e for scope in self.chain() for e in scope.entries if wanted in e.formal), None)

    def _sure(self, name: str) -> Sources | None:
        key = name.lower()
        for scope in self.chain():
            found = scope.using.get(key) or scope._strong(name)
            if found is not None:
                return found
            alias = scope.aliases.get(key)
            if alias is not None and scope.aliases_usable and not _reads_same(alias, key):
                return alias.sources
        return None

    def _strong(self, name: str) -> Sources | None:
        behind: Sources | None = None
        for entry in self.entries:
            found = entry.relation.known(name)
            if found is not None:
                if not entry.hidden:
                    return found
                behind = behind or found
        return behind

    def _guess(self, name: str) -> Sources | None:
        """The only source that could have the column although it is not listed there."""
        for scope in self.chain():
            tables = [e.relation for e in scope.entries if isinstance(e.relation, Table)]
            if tables and len(tables) == len([e for e in scope.entries if not isinstance(e.relation, Spread)]) == 1:
                return tables[0].guess(name)
            spreads = [e.relation for e in scope.entries if isinstance(e.relation, Spread)]
            if len(spreads) == 1 and len(scope.entries) > 0:
                return spreads[0].guess(name)
        return None

    def _row(self, name: str, *, aliased: bool = False) -> Sources | None:
        """A source's name where a column is expected means the whole row."""
        entry = self.entry(name)
        if entry is None or (aliased and not entry.formal):
            return None
        if isinstance(entry.relation, Spread):
            return entry.relation.sources
        return frozenset().union(*(o.sources for o in entry.relation.outputs()))


def _reads_same(alias: Output, key: str) -> bool:
    """True if the select item of that alias reads a column of the same name: then the name means the column."""
    return any(column.lower() == key for _, column in alias.sources)


def _qualified(relation: Relation, parts: Sequence[str]) -> Sources | None:
    found = relation.column(parts[0])
    if (found is None or not relation.closed) and parts[0].lower() in PSEUDO_COLUMNS:
        return NOTHING
    if found is None:
        found = relation.guess(parts[0])
    return None if found is None else _with_fields(found, parts)


def _with_fields(sources: Sources, parts: Sequence[str]) -> Sources:
    """Name the field of a struct as well, where the column that holds it keeps its name on the way."""
    if len(parts) == 1:
        return sources
    column = parts[0].lower()
    return frozenset((t, ".".join((c, *parts[1:]))) if c.lower() == column else (t, c) for t, c in sources)


def call_names(name: Name) -> tuple[str, ...]:
    """The ways to call a table that has no alias: by its last part, or by more of them."""
    lowered = [part.lower() for part in name]
    return tuple(".".join(lowered[i:]) for i in range(len(lowered) - 1, -1, -1))
