"""Tries each capability by itself by the cheapest statement and names the grant that is missing (`mc-push doctor`)."""

from __future__ import annotations

from collections.abc import Iterator

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import Scope
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster.warehouses._snowflake_catalog import Catalog
from mc_push_dagster.warehouses._snowflake_grants import grant_for, named, visibility
from mc_push_dagster.warehouses._snowflake_session import UNREADABLE, Reader
from mc_push_dagster.warehouses._snowflake_settings import SnowflakeOptions
from mc_push_dagster.warehouses.base import Access, Capability

CATALOG = (
    Capability.SCHEMA,
    Capability.VIEW_TEXT,
    Capability.DESCRIPTIONS,
    Capability.ROW_COUNT,
    Capability.BYTE_COUNT,
    Capability.DRIFT,
)

_USAGE: tuple[tuple[Capability, str, str], ...] = (
    (Capability.TAGS, "TAG_REFERENCES", "without it no tags are pushed: set tags: false"),
    (Capability.DATA_CHANGE, "ACCESS_HISTORY", "without it data changes come from LAST_ALTERED, which DDL moves too"),
    (Capability.QUERY_LOG, "QUERY_HISTORY", "without it there is no query log"),
    (Capability.TABLE_LINEAGE, "OBJECT_DEPENDENCIES", "without it lineage of views comes from their texts"),
    (Capability.COLUMN_LINEAGE, "ACCESS_HISTORY", "without it lineage of writes comes from SQL"),
)


def check(reader: Reader, scope: Scope, options: SnowflakeOptions) -> Iterator[Access]:
    """One answer a capability, and one a database that cannot be read."""
    if options.catalog == "account_usage":
        yield from _account_catalog(reader)
    else:
        yield from _databases(reader, scope, options)
    for capability, view, otherwise in _USAGE:
        denied = _denied(reader, f"SNOWFLAKE.ACCOUNT_USAGE.{view}")
        if denied is None:
            yield Access(capability=capability, granted=True, detail=f"SNOWFLAKE.ACCOUNT_USAGE.{view} can be read")
        else:
            detail = f"{denied}; {grant_for(view, reader.role)}; {otherwise}"
            yield Access(capability=capability, granted=False, detail=detail)


def _account_catalog(reader: Reader) -> Iterator[Access]:
    for view in ("TABLES", "VIEWS", "COLUMNS"):
        denied = _denied(reader, f"SNOWFLAKE.ACCOUNT_USAGE.{view}")
        if denied is not None:
            for capability in CATALOG:
                detail = f"{denied}; {grant_for(view, reader.role)}"
                yield Access(capability=capability, granted=False, detail=detail)
            return
    for capability in CATALOG:
        yield Access(capability=capability, granted=True, detail="the account's catalog can be read from ACCOUNT_USAGE")


def _databases(reader: Reader, scope: Scope, options: SnowflakeOptions) -> Iterator[Access]:
    seen = "no database in scope can be seen"
    try:
        names = Catalog(reader, scope, options).databases()
    except UNREADABLE as error:
        names, seen = [], str(error)
    if not names:
        detail = f"{seen}; GRANT USAGE ON DATABASE <database> TO ROLE {named(reader.role)}"
        for capability in CATALOG:
            yield Access(capability=capability, granted=False, detail=detail)
        return
    read: list[str] = []
    for name in names:
        problem = _problem(reader, name)
        if problem is None:
            read.append(name)
        else:
            yield Access(capability=Capability.SCHEMA, granted=False, detail=problem)
    if read:
        for capability in CATALOG:
            detail = f"{len(read)} of {len(names)} databases can be read, as role {named(reader.role)}"
            yield Access(capability=capability, granted=True, detail=detail)


def _problem(reader: Reader, database: str) -> str | None:
    try:
        seen = reader.all(sql.first_table(database))
    except UNREADABLE as error:
        return f"{error}; {visibility(database, reader.role)}"
    except FixConfiguration as error:
        return str(error)
    if seen:
        return None
    grantee = f"TO ROLE {named(reader.role)}"
    place = f"DATABASE {sql.quoted(database)} {grantee}"
    return (
        f"database {database}: no table can be seen; if it has any: GRANT USAGE ON ALL SCHEMAS IN {place}; "
        f"GRANT REFERENCES ON ALL TABLES IN {place}; GRANT REFERENCES ON ALL VIEWS IN {place}"
    )


def _denied(reader: Reader, view: str) -> str | None:
    try:
        reader.all(sql.probe(view))
    except (*UNREADABLE, FixConfiguration) as error:
        return str(error)
    return None
