"""Snowflake statements as text with bind parameters, and those of the catalog; nothing here talks to a server.

System views and their columns: docs.snowflake.com, "Information Schema" and "Account Usage"; the test
`test_snowflake_shapes.py` holds each column named here against the documented shape of its view.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from mc_push_dagster.model import Scope
from mc_push_dagster.warehouses.base import scope_condition

ESCAPE = r"ESCAPE '\\'"
"""Snowflake reads backslash escapes in literals: one backslash is written as two (SQL, "String constants")."""

_HOLE = "\0"
"""Stands for a bind parameter until the connection's parameter style is known; no identifier can hold it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and the values it binds."""

    text: str
    values: tuple[object, ...] = ()

    def rendered(self, *, pyformat: bool) -> str:
        """The text for a connection that binds `%s` (`pyformat`) or `?`."""
        if not self.values:
            return self.text
        return (self.text.replace("%", "%%") if pyformat else self.text).replace(_HOLE, "%s" if pyformat else "?")


class Binds:
    """Collects the values of one statement in the order of their placeholders."""

    def __init__(self) -> None:
        self._values: list[object] = []

    def __call__(self, value: object) -> str:
        # An ISO 8601 text with its offset is read alike by every parameter style; a datetime loses its zone in some.
        self._values.append(value.isoformat() if isinstance(value, datetime) else value)
        return _HOLE

    def statement(self, *parts: str) -> Statement:
        return Statement(" ".join(parts), tuple(self._values))


def quoted(identifier: str) -> str:
    """Return `identifier` in double quotes, quotes within doubled (SQL reference, "Double-quoted identifiers")."""
    return '"' + identifier.replace('"', '""') + '"'


def information_schema(database: str, view: str) -> str:
    return f"{quoted(database)}.INFORMATION_SCHEMA.{view}"


SHOW_DATABASES = Statement("SHOW DATABASES")

TABLE_FIELDS = """SELECT t.table_catalog, t.table_schema, t.table_name, t.table_type, t.is_transient, t.is_dynamic,
    t.is_iceberg, t.is_hybrid, t.row_count, t.bytes, t.created, t.last_altered, t.last_ddl, t.comment,
    v.view_definition, v.is_secure
FROM"""

COLUMN_FIELDS = """SELECT c.table_catalog, c.table_schema, c.table_name, c.column_name, c.ordinal_position, c.data_type,
    c.character_maximum_length, c.character_octet_length, c.numeric_precision, c.numeric_scale, c.datetime_precision,
    c.dtd_identifier, c.comment
FROM"""

ELEMENT_FIELDS = """SELECT e.object_catalog, e.object_schema, e.object_name,
    e.collection_type_identifier AS type_identifier, e.data_type, e.character_maximum_length, e.character_octet_length,
    e.numeric_precision, e.numeric_scale, e.datetime_precision, e.dtd_identifier
FROM"""

FIELD_FIELDS = """SELECT f.object_catalog, f.object_schema, f.object_name, f.row_identifier AS type_identifier,
    f.field_name, f.ordinal_position, f.data_type, f.character_maximum_length, f.character_octet_length,
    f.numeric_precision, f.numeric_scale, f.datetime_precision, f.dtd_identifier
FROM"""

_NOT_CATALOG = "table_type NOT IN ('TEMPORARY TABLE', 'LOCAL TEMPORARY')"
"""Temporary tables live as long as their session: they are no part of a catalog."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a catalog statement reads: a database's INFORMATION_SCHEMA, perhaps one schema of it, or ACCOUNT_USAGE."""

    database: str | None = None
    """None: the whole account, from SNOWFLAKE.ACCOUNT_USAGE."""
    schema: str | None = None

    def view(self, name: str) -> str:
        return f"SNOWFLAKE.ACCOUNT_USAGE.{name}" if self.database is None else information_schema(self.database, name)

    def __str__(self) -> str:
        if self.database is None:
            return "SNOWFLAKE.ACCOUNT_USAGE"
        return self.database if self.schema is None else f"{self.database}.{self.schema}"


_LIVING = """SELECT n.table_id FROM SNOWFLAKE.ACCOUNT_USAGE.TABLES AS n
    WHERE n.deleted IS NULL AND n.table_type NOT IN ('TEMPORARY TABLE', 'LOCAL TEMPORARY')
    QUALIFY n.table_id = MAX(n.table_id) OVER (PARTITION BY n.table_catalog, n.table_schema, n.table_name)"""
"""ACCOUNT_USAGE lists temporary tables of every session, and for a while a dropped table beside its successor."""


def _where(place: Place, scope: Scope, skip: Collection[str], alias: str, bind: Binds) -> str:
    """The condition on the three name columns of `alias` that place and scope set."""
    names = (f"{alias}.table_catalog", f"{alias}.table_schema", f"{alias}.table_name")
    tests = [f"{names[1]} <> 'INFORMATION_SCHEMA'", scope_condition(scope, names, bind, escape_clause=ESCAPE)]
    if place.database is None:
        tests += [f"{alias}.deleted IS NULL", f"{alias}.table_id IN ({_LIVING})"]
        if skip:
            tests.append(f"{names[0]} NOT IN ({', '.join(bind(name) for name in sorted(skip))})")
    if place.schema is not None:
        tests.append(f"{names[1]} = {bind(place.schema)}")
    return " AND ".join(tests)


def tables(place: Place, scope: Scope, skip: Collection[str] = ()) -> Statement:
    """Tables and views with their measures and texts, in order of names."""
    bind = Binds()
    # ACCOUNT_USAGE keeps dropped objects: a name is not unique there, an id is.
    same = "v.table_id = t.table_id" if place.database is None else (
        "v.table_schema = t.table_schema AND v.table_name = t.table_name"
    )  # fmt: skip
    return bind.statement(
        TABLE_FIELDS, place.view("TABLES"), "AS t LEFT JOIN", place.view("VIEWS"), "AS v ON", same,
        "WHERE", _where(place, scope, skip, "t", bind), "AND t." + _NOT_CATALOG,
        "ORDER BY t.table_catalog, t.table_schema, t.table_name",
    )  # fmt: skip


def columns(place: Place, scope: Scope, skip: Collection[str] = ()) -> Statement:
    """Columns of tables and views, in order of names and position."""
    bind = Binds()
    return bind.statement(
        COLUMN_FIELDS, place.view("COLUMNS"), "AS c WHERE", _where(place, scope, skip, "c", bind),
        "ORDER BY c.table_catalog, c.table_schema, c.table_name, c.ordinal_position",
    )  # fmt: skip


def element_types(place: Place) -> Statement:
    """Element types of structured arrays."""
    return Statement(" ".join((ELEMENT_FIELDS, place.view("ELEMENT_TYPES"), "AS e", _alive(place, "e"))).rstrip())


def fields(place: Place) -> Statement:
    """Fields of structured objects, keys and values of maps, in order."""
    order = "ORDER BY f.ordinal_position"
    return Statement(" ".join((FIELD_FIELDS, place.view("FIELDS"), "AS f", _alive(place, "f"), order)))


def _alive(place: Place, alias: str) -> str:
    return f"WHERE {alias}.deleted IS NULL" if place.database is None else ""


def schema_names(database: str) -> Statement:
    """Names of the schemas that the role may see."""
    view = information_schema(database, "SCHEMATA")
    return Statement(" ".join(("SELECT s.schema_name FROM", view, "AS s ORDER BY s.schema_name")))


def show(what: str, database: str) -> Statement:
    """`SHOW MATERIALIZED VIEWS` or `SHOW DYNAMIC TABLES` of a database: the only bulk source of their texts."""
    return Statement(f"SHOW {what} IN DATABASE {quoted(database)}")


def fingerprint(place: Place, scope: Scope, skip: Collection[str] = ()) -> Statement:
    """One digest over all columns of each database; HASH_AGG does not depend on the order of rows."""
    bind = Binds()
    return bind.statement(
        "SELECT c.table_catalog, COUNT(*) AS column_count, HASH_AGG(c.table_schema, c.table_name, c.column_name,",
        "c.ordinal_position, c.data_type, c.character_maximum_length, c.numeric_precision, c.numeric_scale,",
        "c.datetime_precision) AS digest FROM", place.view("COLUMNS"), "AS c WHERE",
        _where(place, scope, skip, "c", bind), "GROUP BY c.table_catalog ORDER BY c.table_catalog",
    )  # fmt: skip


def tagging(tag: str) -> str:
    """How our session statement begins: it sets the tag that marks our statements in the log."""
    return f"ALTER SESSION SET QUERY_TAG = {_literal(tag)}"


def session_parameters(tag: str, timeout_seconds: int) -> dict[str, str | int | bool]:
    """What makes a session ours, whatever the account, the user or a resource set (SQL reference, "Parameters").

    Times are in UTC and read in ISO 8601; a quoted name means itself, in its own case; no result is cut off.
    """
    return {
        "QUERY_TAG": tag,
        "TIMEZONE": "UTC",
        "TIMESTAMP_INPUT_FORMAT": "AUTO",
        "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
        "ROWS_PER_RESULTSET": 0,
        "STATEMENT_TIMEOUT_IN_SECONDS": timeout_seconds,
    }


def session(tag: str, timeout_seconds: int) -> Statement:
    """Set `session_parameters` in a session that somebody else opened."""
    parameters = session_parameters(tag, timeout_seconds)
    del parameters["QUERY_TAG"]
    rest = " ".join(
        f"{name} = {_literal(value) if isinstance(value, str) else str(value).upper()}"
        for name, value in parameters.items()
    )
    return Statement(f"{tagging(tag)} {rest}")


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def probe(view: str) -> Statement:
    """Ask whether `view` may be read; compiled only, so that no warehouse starts."""
    return Statement(" ".join(("SELECT 1 FROM", view, "LIMIT 0")))


def first_table(database: str) -> Statement:
    """Whether any table of `database` can be seen, and whether a warehouse answers."""
    view = information_schema(database, "TABLES")
    return Statement(
        " ".join(("SELECT t.table_name FROM", view, "AS t WHERE t.table_schema <> 'INFORMATION_SCHEMA' LIMIT 1"))
    )
