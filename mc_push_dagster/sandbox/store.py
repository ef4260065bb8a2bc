"""One SQLite file that holds all the sandbox knows; several processes may serve it at once (WAL)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue

from mc_push_dagster.errors import StorageFault

FILE_NAME = "sandbox.sqlite"
VERSION = 1
"""Of tables.sql: raised when a file of before no longer fits."""

_TABLES = Path(__file__).with_name("tables.sql")


class Store:
    """Lends connections to the file in `folder`, which is made if it is missing.

    Raises:
        StorageFault: if the file is of another version.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE_NAME
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        # SQLite has one writer: waiting here is fair and cheap, SQLite's own waiting is a sleep that grows.
        self._writer = threading.Lock()
        with self.read() as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, VERSION):
                raise StorageFault(
                    f"{self.path} was made by another version of the sandbox: remove it, or use another folder"
                )
            db.executescript(_TABLES.read_text(encoding="utf-8"))
            db.execute(f"PRAGMA user_version = {VERSION}")
        # The file holds the sandbox's keys.
        self.path.chmod(0o600)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; it is used by one thread at a time."""
        try:
            db = self._idle.get_nowait()
        except Empty:
            db = self._connect()
        try:
            yield db
        finally:
            self._idle.put(db)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside one transaction: all of it is kept, or none."""
        with self._writer, self.read() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def setting(self, name: str) -> str | None:
        with self.read() as db:
            row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        with self._guard:
            for db in self._all:
                db.close()
            self._all.clear()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        # In WAL mode this survives a killed process; a power cut may cost the last requests of a sandbox.
        db.execute("PRAGMA synchronous = NORMAL")
        with self._guard:
            self._all.append(db)
        return db
