"""What a statement does, as far as lineage goes: facts that name tables and hold no SQL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.relations import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Data flows from the tables read into one destination; without one it is a bare query."""

    destination: Name | None
    reads: tuple[Name, ...] = ()
    columns: tuple[tuple[Source, str], ...] = ()
    """(source table and column, destination column); `*` stands for columns that nobody listed."""
    indirect: frozenset[Source] = frozenset()
    """Columns that only filter or join: evidence that is never pushed."""
    outputs: tuple[str, ...] | None = None
    """The columns that a query gives or a new table gets; None where they are not known."""
    creates: bool = False
    temporary: bool = False
    view: bool = False
    resolved: float = 1.0
    """The share of column references whose table could be told for sure."""
    shape: bool = False
    """True if only the columns' names and types are copied (LIKE), no data."""
    tables_only: bool = False
    """True if the statement was only scanned for table names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new table without data."""

    name: Name
    columns: tuple[str, ...] | None
    temporary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """A table has another name from now on."""

    old: Name
    new: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Two tables exchange their names."""

    first: Name
    second: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A table is gone."""

    name: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The session's defaults change; None leaves a default as it was."""

    database: str | None = None
    schema: str | None = None


class Transaction(StrEnum):
    """Where a transaction begins, and how it ends."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"


Step = Transaction | Flow | Create | Rename | Swap | Drop | Use
