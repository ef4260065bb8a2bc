"""The engine under the ledger: opening, transactions, schema versions, and database errors put into one sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from mc_push_dagster.errors import FixConfiguration, MissingExtra, StorageFault
from mc_push_dagster.ledger import tables as t

BUSY_TIMEOUT_SECONDS = 30
"""How long SQLite waits for another process's transaction; ours last milliseconds."""

_MIGRATION_LOCK = 0x6D635F70757368
"""PostgreSQL advisory lock that serialises migrations; any constant will do."""


def _create_everything(connection: Connection) -> None:
    t.metadata.create_all(connection)


def _name_the_outbox(connection: Connection) -> None:
    if "outbox" not in {column["name"] for column in sa.inspect(connection).get_columns(t.pushes.name)}:
        connection.execute(sa.DDL(f"ALTER TABLE {t.pushes.name} ADD COLUMN outbox VARCHAR(64)"))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_create_everything, _name_the_outbox)
"""Step n brings a ledger from schema version n to n + 1. A released step is never changed, only followed by another."""


class Database:
    """A SQLite file or a PostgreSQL database with the ledger's tables; opened, or made, at its first use."""

    def __init__(self, url: str) -> None:
        self.given = url
        """As it came, its password included: never to be shown."""
        self._url = _parsed(url)
        self._engine: Engine | None = None
        self._opening = Lock()
        # SQLite has one writer at a time: threads of one process queue here instead of in its busy loop.
        self._writing = RLock()

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file, None for PostgreSQL."""
        return Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection with one consistent view.

        Raises:
            StorageFault: if the database cannot be read.
        """
        with self._told(), self._open().connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable when the block is left, and undone if it is left by an error.

        Raises:
            StorageFault: if the database cannot be written (disk full, read-only, unreachable).
        """
        with self._told():
            engine = self._open()
            with self._writing, engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT, which both databases spell alike."""
        return sqlite_insert(table) if self.file is not None else postgresql_insert(table)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                engine = self._connectable()
                try:
                    _migrate(engine, shown=self.shown)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine

    def _connectable(self) -> Engine:
        if self.file is not None:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageFault(
                    f"the ledger's folder {self.file.parent} cannot be made: {error.strerror}"
                ) from error
            engine = sa.create_engine(self._url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
            return _prepared(engine)
        try:
            return sa.create_engine(self._url, pool_pre_ping=True, connect_args={"connect_timeout": 15})
        except ModuleNotFoundError as error:
            raise MissingExtra(what="a ledger in PostgreSQL", extra="postgres") from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StorageFault(_sentence(error, self.shown)) from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise FixConfiguration(
            "the ledger's URL is not understood: write sqlite:////folder/ledger.sqlite or postgresql://user@host/database"
        ) from error
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise FixConfiguration("the ledger needs a file to survive in: write sqlite:////folder/ledger.sqlite")
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise FixConfiguration(f"a ledger in {backend!r} is not supported: use a SQLite file or PostgreSQL")


def _prepared(engine: Engine) -> Engine:
    """Make SQLite durable and shareable: WAL, full sync, and transactions that lock when they begin."""

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late, see `begin`
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000:d}")
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    def begin(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails at once if another process wrote in between.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    listen(engine, "connect", connected)
    listen(engine, "begin", begin)
    return engine


def _migrate(engine: Engine, *, shown: str) -> None:
    newest = len(MIGRATIONS)
    if _version(engine) == newest:
        return  # the usual case takes no lock, so that a read-only ledger can be read
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        t.schema_version.create(connection, checkfirst=True)
        version = connection.scalar(sa.select(t.schema_version.c.version)) or 0
        if version > newest:
            raise FixConfiguration(
                f"the ledger {shown} was written by a newer mc-push-dagster (schema {version}, this one knows "
                f"{newest}): upgrade, or name another ledger"
            )
        for step in MIGRATIONS[version:]:
            step(connection)
        connection.execute(sa.delete(t.schema_version))
        connection.execute(sa.insert(t.schema_version).values(version=newest))


def _version(engine: Engine) -> int | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(t.schema_version.name):
            return None
        return connection.scalar(sa.select(t.schema_version.c.version))


_SQLITE_REASONS = {
    "readonly": "it is read-only for this user: mend its file's and folder's rights, or name another ledger",
    "disk is full": "the disk is full: free some space; what arrived until now is recorded",
    "disk i/o": "the disk failed or is full: see the system's log",
    "unable to open": "the file cannot be opened: mend its folder's rights, or name another ledger",
    "locked": f"another process has held it for {BUSY_TIMEOUT_SECONDS} s: see what hangs",
    "not a database": "the file is no SQLite database: move it away, or name another ledger",
    "malformed": "the file is damaged: put a backup back, or name another ledger",
}


def _sentence(error: DBAPIError, shown: str) -> str:
    cause = str(error.orig).strip().splitlines()[0] if error.orig is not None and str(error.orig).strip() else ""
    if isinstance(error.orig, sqlite3.Error):
        for sign, reason in _SQLITE_REASONS.items():
            if sign in cause.lower():
                return f"the ledger {shown} cannot be used: {reason}"
    return f"the ledger {shown} cannot be used: {cause or type(error.orig).__name__}"
