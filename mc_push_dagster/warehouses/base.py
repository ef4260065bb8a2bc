"""The contract every warehouse keeps: what it yields, in what order, and what it says about itself.

A warehouse knows its engine and nothing of Monte Carlo. It is a connection factory plus statements:

    class MyWarehouse(Warehouse):
        name, dialect, resource_type, log_type = "mine", "postgres", "transactional-db", "generic"
        capabilities = {Capability.SCHEMA: YES, Capability.QUERY_LOG: impossible("it keeps none")}
        def tables(self): ...
        def columns(self): ...

`mc_push_dagster_tests/warehouses/contract.py` holds every warehouse to this file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict

from mc_push_dagster.model import (
    ColumnEdge,
    Fingerprint,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableColumns,
    TableRef,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses.lent import connect_through

Connect = Callable[[], Any]
"""Opens a DB-API connection (or a client with `close()`); called for each read, from any thread, never shared."""


class Capability(StrEnum):
    """What a warehouse may be able to tell."""

    SCHEMA = "schema"
    VIEW_TEXT = "view text"
    DESCRIPTIONS = "descriptions"
    TAGS = "tags"
    ROW_COUNT = "row count"
    BYTE_COUNT = "byte count"
    DATA_CHANGE = "data change"
    QUERY_LOG = "query log"
    TABLE_LINEAGE = "native table lineage"
    COLUMN_LINEAGE = "native column lineage"
    DRIFT = "schema drift"


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a warehouse has a capability; `not yet` is ours to build, `impossible` is the engine's nature."""

    state: Literal["yes", "not yet", "impossible"]
    reason: str | None = None


YES = Support("yes")


def not_yet(reason: str) -> Support:
    return Support("not yet", reason)


def impossible(reason: str) -> Support:
    return Support("impossible", reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whether one capability can be used with the present rights (`mc-push doctor`)."""

    capability: Capability
    granted: bool
    detail: str
    """What was seen, or the missing right and the statement that grants it."""


class Settings(BaseModel):
    """Connection settings as they stand in configuration; each warehouse subclasses it. Secrets are `SecretStr`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Naming(Protocol):
    """A table's name in SQL, and the one it is pushed with."""

    def written(self, ref: TableRef) -> TableRef: ...

    def pushed(self, written: TableRef) -> TableRef: ...


class SameNames:
    """Tables are pushed with the names that SQL has for them."""

    def written(self, ref: TableRef) -> TableRef:
        return ref

    def pushed(self, written: TableRef) -> TableRef:
        return written


class Warehouse(ABC):
    """One warehouse, read-only.

    Streams are lazy and ordered: `tables()` and `columns()` each yield in ascending order of `(database, schema,
    name)` by code point, so that they can be joined without holding either in memory. A part that cannot be read is
    yielded as a `Gap` and the rest goes on; only what makes reading pointless (no connection, wrong password) is
    raised.
    """

    name: ClassVar[str]
    """The registry name."""
    dialect: ClassVar[str]
    """The SQL dialect, by sqlglot's name."""
    resource_type: ClassVar[str]
    """The default `resource_type` of metadata and lineage pushes."""
    log_type: ClassVar[str]
    """The default `log_type` of query-log pushes."""
    capabilities: ClassVar[Mapping[Capability, Support]]
    settings: ClassVar[type[Settings]]
    lent_settings: ClassVar[type[Settings] | None] = None
    """The settings that remain where a user's own resource opens the connection; None: all of `settings`."""
    query_log_latency: ClassVar[timedelta] = timedelta(0)
    """How long after its end a query is sure to stand in the log (the vendor's documented figure)."""
    late_windows: ClassVar[int] = 2
    """How many earlier hours are read again for late rows."""
    drift_interval: ClassVar[timedelta] = timedelta(minutes=5)
    """How often a fingerprint may be taken without keeping a paid engine awake."""
    statement_budget: ClassVar[str] = ""
    """In words: how many statements or requests a full catalog costs."""

    def __init__(self, connect: Connect, *, scope: Scope | None = None) -> None:
        self._connect = connect
        self.scope = scope or Scope()

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Any, *, scope: Scope) -> Self:
        """Build the warehouse from its `settings` model; opens no connection, imports no driver.

        Raises:
            FixConfiguration: if settings contradict each other.
        """

    def connect_by(self, connect: Connect) -> None:
        """Use the caller's own way to connect (a Dagster resource, a pool) instead of the settings'."""
        self._connect = connect

    @classmethod
    def over(cls, resource: Any, *, scope: Scope | None = None, options: Any = None) -> Self:
        """Build the warehouse over a user's own resource, of what `lent.connect_through` understands.

        `options` is an instance of `lent_settings` (or `settings`). Warehouses whose sessions need setting up
        override it.

        Raises:
            FixConfiguration: if the resource cannot open a connection.
        """
        warehouse = cls.from_settings(options, scope=scope or Scope())
        warehouse.connect_by(connect_through(resource))
        return warehouse

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection that is closed on every path."""
        with closing(self._connect()) as connection:
            yield connection

    @abstractmethod
    def tables(self) -> Iterator[TableSnapshot | Gap]:
        """Every table and view in scope without its columns, ordered (see the class), with all measures known."""

    @abstractmethod
    def columns(self) -> Iterator[TableColumns | Gap]:
        """The columns of every table and view in scope, ordered (see the class)."""

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        """The statements that ended in `window`, by their end, without our own. Empty where there is no log."""
        return iter(())

    def lineage(self, window: Window) -> Iterator[LineageEdge | ColumnEdge | Gap]:
        """The edges the warehouse itself knows: those seen in `window`, and standing ones (dependencies)."""
        return iter(())

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        """One digest per database in scope, by the cheapest statement the engine has."""
        return iter(())

    def check_access(self) -> Iterator[Access]:
        """Try each capability by itself with the cheapest statement; never raises for a missing right."""
        return iter(())

    @property
    def names(self) -> Naming:
        """How SQL's names and pushed ones belong together; it holds no connection, so that it can go to a process."""
        return SameNames()

    def written(self, ref: TableRef) -> TableRef:
        """The three parts by which SQL names the table that is pushed as `ref`; the same in most engines."""
        return self.names.written(ref)

    def pushed(self, written: TableRef) -> TableRef:
        """The parts that are pushed for the table that SQL names so: the reverse of `written`."""
        return self.names.pushed(written)

    def quote(self, identifier: str) -> str:
        """Return `identifier` quoted for this engine, embedded quotes doubled (ANSI; MySQL-like engines override)."""
        return '"' + identifier.replace('"', '""') + '"'


def like_pattern(glob: str, *, escape: str = "\\") -> str:
    """Return the lower-case LIKE pattern of a glob with `*` and `?`; to be bound, with `ESCAPE` set to `escape`."""
    out = "".join(escape + c if c in ("%", "_", escape) else c for c in glob.lower())
    return out.replace("*", "%").replace("?", "_")


def scope_condition(
    scope: Scope, columns: tuple[str, str, str], bind: Callable[[str], str], *, escape_clause: str = r"ESCAPE '\'"
) -> str:
    """Return a SQL condition that `scope` sets on the three name columns, `TRUE` where it sets none.

    `columns` are SQL expressions for database, schema and table name; `bind` takes a value, remembers it, and
    returns its placeholder, so that values travel as bind parameters only.
    """

    def one(pattern: tuple[str, str, str]) -> str:
        tests = [
            f"lower({column}) LIKE {bind(like_pattern(glob))} {escape_clause}".rstrip()
            for column, glob in zip(columns, pattern, strict=True)
            if glob != "*"
        ]
        return "(" + " AND ".join(tests) + ")" if tests else "TRUE"

    included = " OR ".join(one(p.parts) for p in scope.include)
    excluded = " OR ".join(one(p.parts) for p in scope.exclude)
    parts = ([f"({included})"] if included else []) + ([f"NOT ({excluded})"] if excluded else [])
    return " AND ".join(parts) or "TRUE"
