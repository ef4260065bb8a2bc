"""GoogleSQL run for real on DuckDB; INFORMATION_SCHEMA views are tables of their documented shapes that tests fill."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

SHAPES: Mapping[str, Mapping[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "bigquery_shapes.json").read_text(encoding="utf-8")
)["shapes"]

JOBS = "JOBS_BY_PROJECT"
"""The one table behind all four views of jobs."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIMPLE = {"STRING": "VARCHAR", "INT64": "BIGINT", "TIMESTAMP": "TIMESTAMPTZ", "BOOL": "BOOLEAN"}


@dataclass(frozen=True)
class Reading:
    """A statement for DuckDB, and the views it reads as (project, qualifier, view)."""

    sql: str
    views: tuple[tuple[str, str, str], ...]
    parameters: frozenset[str]


@dataclass
class Answer:
    """A finished result: fields as the REST API describes them, rows as DuckDB gave them."""

    fields: list[dict[str, Any]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)


class Engine:
    """One DuckDB that holds every project and region."""

    def __init__(self) -> None:
        self._duck = duckdb.connect()
        self._duck.execute("SET TimeZone = 'UTC'")
        self._lock = threading.RLock()
        # FARM_FINGERPRINT: any 64-bit digest serves (GoogleSQL, "Hash functions").
        self._duck.execute("CREATE MACRO farm_fingerprint(x) AS (hash(x) >> 1)::BIGINT")
        for view in _tables():
            columns = ", ".join(f'"{name}" {_duck_type(kind)}' for name, kind in SHAPES[view]["columns"].items())
            self._duck.execute(f'CREATE TABLE "{view}" ("_project" VARCHAR, "_region" VARCHAR, {columns})')

    def clear(self) -> None:
        with self._lock:
            for view in _tables():
                self._duck.execute(f'DELETE FROM "{view}"')

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        with self._lock:
            self._duck.execute(sql, list(values))

    def fill(self, view: str, rows: Iterable[Mapping[str, Any]], *, project: str, region: str) -> None:
        """Put rows into a view; columns that are not named are NULL, unknown ones an error."""
        columns = SHAPES[view]["columns"]
        listed = list(rows)
        unknown = {name for row in listed for name in row} - set(columns)
        assert not unknown, f"{view} has no columns {sorted(unknown)}"
        if not listed:
            return
        arrays = {name: pa.array([row.get(name) for row in listed], _arrow(kind)) for name, kind in columns.items()}
        incoming = pa.table(arrays)
        with self._lock:
            self._duck.register("incoming", incoming)
            self._duck.execute(f'INSERT INTO "{view}" SELECT ?, ?, * FROM incoming', [project, region])
            self._duck.unregister("incoming")

    def run(self, reading: Reading, parameters: Mapping[str, Any]) -> Answer:
        with self._lock:
            used = {name: parameters[name] for name in reading.parameters}
            found = self._duck.execute(reading.sql, used or None)
            fields = [_field(name, kind) for name, kind, *_ in found.description]
            return Answer(fields, found.fetchall())


def _tables() -> list[str]:
    return [view for view in SHAPES if not view.startswith("JOBS_BY") or view == JOBS]


@lru_cache(maxsize=4096)
def read(text: str, user: str) -> Reading:
    """Translate one GoogleSQL statement.

    Raises:
        sqlglot.errors.SqlglotError: if it is no GoogleSQL.
        LookupError: if it names a view that does not exist or may not be qualified so.
    """
    tree = sqlglot.parse_one(text, read="bigquery")
    views = [_redirect(table, user) for table in list(tree.find_all(exp.Table))]
    for like in list(tree.find_all(exp.Like)):
        # BigQuery's LIKE escapes with a backslash; DuckDB's has no escape unless it is named.
        like.replace(exp.Escape(this=like.copy(), expression=exp.Literal.string("\\")))
    names = set()
    for parameter in list(tree.find_all(exp.Parameter)):
        names.add(parameter.name)
        parameter.replace(exp.Placeholder(this=parameter.name))
    return Reading(tree.sql(dialect="duckdb"), tuple(views), frozenset(names))


def _redirect(table: exp.Table, user: str) -> tuple[str, str, str]:
    parts = [part.name for part in table.parts]
    if "." in parts[-1]:
        parts[-1:] = parts[-1].split(".", 1)
    if len(parts) != 4 or parts[2] != "INFORMATION_SCHEMA":
        raise LookupError(f"Not found: Table {'.'.join(parts)}")
    project, qualifier, _, view = parts
    of_region = qualifier.startswith("region-")
    if view not in SHAPES or not SHAPES[view]["region" if of_region else "dataset"]:
        raise LookupError(f"Not found: Table {'.'.join(parts)} was not found in location US")
    where: list[exp.Expression] = []
    if of_region:
        where.append(exp.column("_region").eq(exp.Literal.string(qualifier.removeprefix("region-"))))
    else:
        where.append(exp.column("table_schema").eq(exp.Literal.string(qualifier)))
    if view not in ("JOBS_BY_FOLDER", "JOBS_BY_ORGANIZATION"):
        where.append(exp.column("_project").eq(exp.Literal.string(project)))
    if view == "JOBS_BY_USER":
        where.append(exp.column("user_email").eq(exp.Literal.string(user)))
    home = JOBS if view.startswith("JOBS_BY") else view
    columns = [exp.column(name, quoted=True) for name in SHAPES[view]["columns"]]
    source = exp.select(*columns).from_(exp.table_(home, quoted=True)).where(*where)
    table.replace(exp.Subquery(this=source, alias=exp.TableAlias(this=exp.to_identifier(table.alias or view))))
    return project, qualifier, view


def _duck_type(kind: str) -> str:
    if kind.startswith("ARRAY<"):
        return _duck_type(kind[6:-1]) + "[]"
    if kind.startswith("STRUCT<"):
        parts = (part.strip().split(" ", 1) for part in kind[7:-1].split(","))
        return "STRUCT(" + ", ".join(f'"{name}" {_duck_type(inner)}' for name, inner in parts) + ")"
    return SIMPLE[kind]


def _arrow(kind: str) -> pa.DataType:
    if kind.startswith("ARRAY<"):
        return pa.list_(_arrow(kind[6:-1]))
    if kind.startswith("STRUCT<"):
        parts = (part.strip().split(" ", 1) for part in kind[7:-1].split(","))
        return pa.struct([(name, _arrow(inner)) for name, inner in parts])
    return {
        "STRING": pa.string(),
        "INT64": pa.int64(),
        "TIMESTAMP": pa.timestamp("us", "UTC"),
        "BOOL": pa.bool_(),
    }[kind]


_KINDS = {
    "bigint": "INTEGER",
    "integer": "INTEGER",
    "hugeint": "INTEGER",
    "ubigint": "INTEGER",
    "double": "FLOAT",
    "varchar": "STRING",
    "boolean": "BOOLEAN",
    "timestamp with time zone": "TIMESTAMP",
    "timestamp": "DATETIME",
    "date": "DATE",
    "time": "TIME",
    "blob": "BYTES",
    "null": "STRING",
}


def _field(name: str, kind: Any) -> dict[str, Any]:
    """The REST description of a column (REST, "TableFieldSchema")."""
    if kind.id == "list":
        return {**_field(name, kind.children[0][1]), "mode": "REPEATED"}
    if kind.id == "struct":
        inner = [_field(part, inner_kind) for part, inner_kind in kind.children]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": inner}
    return {"name": name, "type": _KINDS[str(kind).strip('"').lower()], "mode": "NULLABLE"}


def cell(value: Any, described: Mapping[str, Any]) -> dict[str, Any]:
    """A value as the REST API writes it, timestamps as microseconds (formatOptions.useInt64Timestamp)."""
    if described["mode"] == "REPEATED":
        return {"v": [cell(item, {**described, "mode": "NULLABLE"}) for item in value or ()]}
    if value is None:
        return {"v": None}
    if described["type"] == "RECORD":
        return {"v": {"f": [cell(value.get(part["name"]), part) for part in described["fields"]]}}
    if described["type"] == "TIMESTAMP":
        since = value.astimezone(UTC) - EPOCH
        return {"v": str((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)}
    if isinstance(value, bool):
        return {"v": "true" if value else "false"}
    if isinstance(value, bytes):
        return {"v": base64.b64encode(value).decode()}
    if isinstance(value, date | time):
        return {"v": value.isoformat()}
    return {"v": str(value)}


def bound(parameter: Mapping[str, Any]) -> Any:
    """The value of a query parameter (REST, "QueryParameter")."""
    kind, value = parameter["parameterType"]["type"], parameter["parameterValue"].get("value")
    if value is None or kind == "STRING":
        return value
    if kind == "TIMESTAMP":
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    return {"INT64": int, "FLOAT64": float, "BOOL": lambda text: text == "true"}[kind](value)
