"""Runs SQL scripts on DuckDB and writes each statement into a query log, as a warehouse of its own would do it.

A script is plain SQL, statements ending with `;` at the end of a line. Lines that begin with `--@` direct the recorder:
`user NAME` opens a session, `starts -90m` says when (minutes from the script's base time), `fails` marks a statement
that is meant to fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from mc_push_dagster.warehouses.duckdb import QUERY_LOG_COLUMNS

_DIRECTIVE = re.compile(r"^--@ (\w+)(?: (\S+))?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One statement of a script."""

    sql: str
    fails: bool = False


@dataclass(frozen=True, kw_only=True)
class Session:
    """What one user does in one connection, from a time on."""

    user: str
    starts_at: datetime
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        return f"{self.user}-{self.starts_at:%Y%m%dT%H%M%S}"


def sessions(script: str, *, base: datetime, values: Mapping[str, str]) -> Iterator[Session]:
    """Read a script; `{name}` stands for `values[name]`."""
    for name, value in values.items():
        script = script.replace("{" + name + "}", value)
    for part in re.split(r"^(?=--@ user )", script, flags=re.MULTILINE):
        told = {word: value for word, value in _DIRECTIVE.findall(part) if word in ("user", "starts")}
        if not told:
            continue
        blocks = [block for block in re.split(r";[ ]*(?:\n|$)", part) if _DIRECTIVE.sub("", block).strip()]
        steps = tuple(
            Step(sql=_DIRECTIVE.sub("", block).strip(), fails=("fails", "") in _DIRECTIVE.findall(block))
            for block in blocks
        )
        minutes = int(told["starts"].removesuffix("m"))
        yield Session(user=told["user"], starts_at=base + timedelta(minutes=minutes), steps=steps)


class Recorder:
    """Runs sessions on the database that `connection` has in use.

    The clock is simulated: a session begins at its `starts_at`, each statement takes as long as it really took, and
    between two statements lies a pause drawn from a generator seeded by the session. The SQL and its effects are real.
    """

    def __init__(
        self, connection: Any, *, log_table: str, stopwatch: Callable[[], float], files: Path | None = None
    ) -> None:
        """`stopwatch` gives seconds that only go forward; `files` is where statements find the files they name."""
        self.connection = connection
        self._log_table = log_table
        self._stopwatch = stopwatch
        self._files = files
        self._rows: list[tuple[Any, ...]] = []

    def create_log(self) -> None:
        columns = ", ".join(f"{name} {kind}" for name, kind in QUERY_LOG_COLUMNS.items())
        self.connection.execute(f"CREATE TABLE {self._log_table} ({columns})")

    def run(self, session: Session) -> None:
        """Run a session's statements and log them.

        Raises:
            duckdb.Error: if a statement fails that is not meant to.
        """
        pauses = Random(session.id)  # noqa: S311 - pauses are no secret
        cursor = self.connection.cursor()
        try:
            if self._files is not None:
                place = str(self._files).replace("'", "''")  # DuckDB 1.4 takes no bind value here
                cursor.execute(f"SET file_search_path = '{place}'")
            at = session.starts_at
            for number, step in enumerate(session.steps):
                at = self._step(cursor, session, number, step, at) + timedelta(seconds=pauses.uniform(0.2, 2.5))
        finally:
            cursor.close()
            self._write()

    def _step(self, cursor: Any, session: Session, number: int, step: Step, at: datetime) -> datetime:
        import duckdb

        database, schema = cursor.execute("SELECT current_database(), current_schema()").fetchall()[0]
        rows: list[Any] = []
        error: duckdb.Error | None = None
        began = self._stopwatch()
        try:
            rows = cursor.execute(step.sql).fetchall()
        except duckdb.Error as caught:
            if not step.fails:
                caught.add_note(f"in {session.id}, statement {number}: {step.sql}")
                raise
            error = caught
        ended_at = at + timedelta(seconds=self._stopwatch() - began)
        written = written_table(step.sql, rows) if error is None else None
        self._rows.append(
            (
                blake2b(f"{session.id}/{number}".encode(), digest_size=8).hexdigest(),
                session.id,
                session.user,
                database,
                schema,
                step.sql,
                at,
                ended_at,
                len(rows) if error is None and _returns_rows(step.sql) else None,
                type(error).__name__ if error else None,
                str(error).partition("\n")[0] if error else None,
                [{"database": database, "schema": written[0] or schema, "name": written[1]}] if written else [],
            )
        )
        return ended_at

    def _write(self) -> None:
        if self._rows:
            marks = ", ".join("?" * len(QUERY_LOG_COLUMNS))
            self.connection.begin()
            self.connection.executemany(f"INSERT INTO {self._log_table} VALUES ({marks})", self._rows)  # noqa: S608
            self.connection.commit()
            self._rows.clear()


def _returns_rows(sql: str) -> bool:
    from sqlglot import exp, parse_one

    return isinstance(parse_one(sql, dialect="duckdb"), exp.Query)


def written_table(sql: str, result: list[Any]) -> tuple[str, str] | None:
    """Return the schema (empty for the default) and name of the table whose data a statement changed, if it did.

    A rename counts: the data behind the new name is other data than before. A temporary table does not, nor does
    a statement that changed no row. `result` is what DuckDB answered: the number of changed rows, where rows change.
    """
    from sqlglot import exp, parse_one

    tree = parse_one(sql, dialect="duckdb")
    target = None
    if isinstance(tree, exp.Create) and tree.kind == "TABLE" and not tree.find(exp.TemporaryProperty):
        target = tree.this
    elif isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge | exp.Copy):
        target = tree.this if result and result[0][0] else None
    elif isinstance(tree, exp.Alter):
        renamed = tree.find(exp.AlterRename)
        if renamed is not None:
            return tree.this.db, renamed.this.name
    table = target.find(exp.Table) if target is not None else None
    return (table.db, table.name) if table is not None else None
