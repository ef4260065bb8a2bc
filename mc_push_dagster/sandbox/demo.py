"""The demo warehouse: a shop in DuckDB, built by real SQL.

`build` runs the scripts in shop/ (raw -> staging -> marts, a swap, a failed statement, analysts, a dashboard) and
records each statement in the shop's query log. The SQL, its results, durations and errors are real; only the demo's
clock is simulated: sessions lie in the hours before `now`, so that hourly query-log windows have something in them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mc_push_dagster.errors import FixConfiguration, StorageFault, WarehouseUnavailable
from mc_push_dagster.model import Gap, Scope, TablePattern, hour_bucket, utc
from mc_push_dagster.sandbox.recorder import Recorder, Session, sessions
from mc_push_dagster.warehouses.duckdb import DuckDB, DuckDBSettings

QUERY_LOG_TABLE = "ops.query_log"
SCOPE = Scope(exclude=(TablePattern(schema="ops"),))
"""The shop without the schema of its query log."""

_SHOP = Path(__file__).parent / "shop"
_SCRIPTS = ("1_raw.sql", "2_staging.sql", "3_marts.sql", "4_maintenance.sql", "5_analysts.sql")
_HOURLY_SINCE = timedelta(hours=4)  # the marts exist since ten past the hour before
_SETTLED = timedelta(minutes=2)  # a session that began so long ago has ended
_STALE = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFacts:
    """What the shop holds, counted in the file."""

    path: Path
    database: str
    built_at: datetime
    tables: int
    views: int
    rows: int
    statements: int
    failed: int
    users: tuple[str, ...]
    reused: bool
    """The file was there already; only the hours since were added."""


def build(path: Path, *, now: datetime) -> DemoFacts:
    """Build the shop, or bring the one that is there up to `now` hour by hour; a shop of another day is built anew.

    Takes about five seconds the first time. The file appears at once and whole; processes that build at the same time
    wait for each other.

    Raises:
        FixConfiguration: if a folder has `?` in its name: DuckDB takes what follows for options.
        WarehouseUnavailable: if another program is writing the file.
        StorageFault: if the folder cannot be written or its disk is full.
    """
    now = utc(now)
    if "?" in str(path):
        raise FixConfiguration(
            f"DuckDB cannot write below {path.parent}: a folder has `?` in its name; use another one"
        )
    with _told(path), _alone(path):
        built_at = _built_at(path)
        reused = built_at is not None and timedelta(0) <= now - built_at < _STALE
        if reused:
            _catch_up(path, now)
        else:
            _build_beside(path, now)
        return _facts(path, reused=reused)


def evolve(path: Path, *, now: datetime) -> DemoFacts:
    """Change the shop as its makers might: a new column and table, a dropped column and table, a new type, 500 orders.

    Raises:
        FixConfiguration: if there is no shop at `path`.
        WarehouseUnavailable: if somebody else has the file open.
    """
    now = utc(now)
    with _alone(path):
        if _built_at(path) is None:
            raise FixConfiguration(f"{path} is no demo shop of this version: build it first")
        with _writing(path) as recorder:
            for session in _read("evolve.sql", base=now, now=now):
                recorder.run(session)
        return _facts(path, reused=True)


def _build_beside(path: Path, now: datetime) -> None:
    """Build in a folder beside the file, under the same name (which names the database), then put it in its place."""
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=path.parent))
    try:
        fresh, hour = folder / path.name, hour_bucket(now)
        with _writing(fresh) as recorder:
            recorder.connection.execute("CREATE SCHEMA ops")
            recorder.create_log()
            recorder.connection.execute(
                "CREATE TABLE ops.build (recipe VARCHAR, built_at_us BIGINT, worked_until_us BIGINT)"
            )
            planned = [session for script in _SCRIPTS for session in _read(script, base=hour, now=now)]
            planned += _hourly(after=hour - _HOURLY_SINCE, now=now)
            for session in sorted(planned, key=lambda s: s.starts_at):
                recorder.run(session)
            recorder.connection.execute(
                "INSERT INTO ops.build VALUES (?, ?, ?)", [_recipe(), _us(now), _us(now - _SETTLED)]
            )
        os.replace(fresh, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _catch_up(path: Path, now: datetime) -> None:
    """Do the hourly work of the time since; left for later while somebody reads the file."""
    with suppress(WarehouseUnavailable), _writing(path) as recorder:
        ((until,),) = recorder.connection.execute("SELECT worked_until_us FROM ops.build").fetchall()
        for session in _hourly(after=_at(until), now=now):
            recorder.run(session)
        done = max(until, _us(now - _SETTLED))
        recorder.connection.execute("UPDATE ops.build SET worked_until_us = ?", [done])


def _hourly(*, after: datetime, now: datetime) -> list[Session]:
    """The hourly work that begins later than `after` and has ended by `now`, in order."""
    hour, found = hour_bucket(after), list[Session]()
    while hour <= now:
        found += _read("hourly.sql", base=hour, now=now)
        hour += timedelta(hours=1)
    return sorted((s for s in found if after < s.starts_at <= now - _SETTLED), key=lambda s: s.starts_at)


def _read(script: str, *, base: datetime, now: datetime) -> Iterator[Session]:
    values = {
        "today": f"{now:%Y-%m-%d}",
        "now": f"{now:%Y-%m-%d %H:%M:%S}",
        "day": f"{base:%Y-%m-%d}",
        "hour": f"{hour_bucket(base):%Y-%m-%d %H:%M:%S}",
    }
    yield from sessions((_SHOP / script).read_text(encoding="utf-8"), base=base, values=values)


@contextmanager
def _writing(path: Path) -> Iterator[Recorder]:
    import duckdb

    try:
        connection = duckdb.connect(str(path))
    except (duckdb.IOException, duckdb.ConnectionException) as error:
        raise WarehouseUnavailable(
            f"{path} is open elsewhere: close what reads or writes it, then try again"
        ) from error
    with closing(connection):
        connection.execute("SET TimeZone = 'UTC'")
        yield Recorder(connection, log_table=QUERY_LOG_TABLE, stopwatch=time.perf_counter, files=_SHOP)


def _built_at(path: Path) -> datetime | None:
    """When the shop was built; None if there is none, or one of another recipe or version of DuckDB."""
    import duckdb

    if not path.exists():
        return None
    try:
        with _shop(path).connection() as connection:
            ((recipe, built_at),) = connection.execute("SELECT recipe, built_at_us FROM ops.build").fetchall()
    except (FixConfiguration, duckdb.Error):
        return None
    return _at(built_at) if recipe == _recipe() else None


def _facts(path: Path, *, reused: bool) -> DemoFacts:
    shop = _shop(path)
    tables = [item for item in shop.tables() if not isinstance(item, Gap)]
    with shop.connection() as connection:
        log = connection.execute(
            f"""SELECT count(*), count(error_code), list_sort(list(DISTINCT user_name)),
                       (SELECT max(built_at_us) FROM ops.build)
                FROM {QUERY_LOG_TABLE}"""  # noqa: S608
        )
        ((statements, failed, users, built_at),) = log.fetchall()
    return DemoFacts(
        path=path,
        database=path.stem,
        built_at=_at(built_at),
        tables=sum(t.row_count is not None for t in tables),
        views=sum(t.row_count is None for t in tables),
        rows=sum(t.row_count or 0 for t in tables),
        statements=statements,
        failed=failed,
        users=tuple(users),
        reused=reused,
    )


def _shop(path: Path) -> DuckDB:
    return DuckDB.from_settings(DuckDBSettings(path=str(path), query_log_table=QUERY_LOG_TABLE), scope=SCOPE)


def _recipe() -> str:
    """A digest of the scripts and of DuckDB's version, so that neither serves with a file of the other's."""
    import duckdb

    digest = blake2b(duckdb.__version__.encode(), digest_size=8)
    for script in sorted(_SHOP.iterdir()):
        digest.update(script.read_bytes())
    return digest.hexdigest()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Make the shop's folder; say in one sentence why it cannot be written."""
    import duckdb

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        full = isinstance(error, duckdb.Error) and "space" in str(error).lower()
        why = "its disk is full" if full else getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise StorageFault(
            f"the demo shop cannot be kept in {path.parent}: {why} (MC_PUSH_HOME names another folder)"
        ) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the shop's lock, which the system releases when a process dies; go on without where it has none."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _us(at: datetime) -> int:
    return int((at - _EPOCH) / timedelta(microseconds=1))


def _at(micros: Any) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


_EPOCH = utc(datetime.fromisoformat("1970-01-01T00:00:00+00:00"))
