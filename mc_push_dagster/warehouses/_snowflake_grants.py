"""Which statement grants what is missing; kept beside docs/snowflake.md, which shows the same statements.

Which database role opens which ACCOUNT_USAGE view: SQL reference, "SNOWFLAKE database roles".
"""

from __future__ import annotations

from collections.abc import Mapping

from mc_push_dagster.warehouses._snowflake_sql import Place, quoted

VIEW_ROLES: Mapping[str, str] = {
    "TABLES": "OBJECT_VIEWER",
    "COLUMNS": "OBJECT_VIEWER",
    "VIEWS": "OBJECT_VIEWER",
    "ELEMENT_TYPES": "OBJECT_VIEWER",
    "FIELDS": "OBJECT_VIEWER",
    "OBJECT_DEPENDENCIES": "OBJECT_VIEWER",
    "QUERY_HISTORY": "GOVERNANCE_VIEWER",
    "ACCESS_HISTORY": "GOVERNANCE_VIEWER",
    "TAG_REFERENCES": "GOVERNANCE_VIEWER",
}

_ENTERPRISE = {"ACCESS_HISTORY": "Enterprise Edition has it", "TAG_REFERENCES": "Enterprise Edition has tags"}


def grant_for(what: str | Place, role: str | None) -> str:
    """The statement that lets `role` read an ACCOUNT_USAGE view, or a database's INFORMATION_SCHEMA."""
    if isinstance(what, Place):
        if what.database is not None:
            return visibility(what.database, role, schema=what.schema)
        what = "TABLES"
    edition = f" ({_ENTERPRISE[what]})" if what in _ENTERPRISE else ""
    return f"GRANT DATABASE ROLE SNOWFLAKE.{VIEW_ROLES[what]} TO ROLE {named(role)}{edition}"


def visibility(database: str, role: str | None, *, schema: str | None = None) -> str:
    """The statements that let `role` see a database, or one schema of it, and its tables without their data."""
    grantee = f"TO ROLE {named(role)}"
    first = f"if it exists: GRANT USAGE ON DATABASE {quoted(database)} {grantee}"
    if schema is None:
        return first
    place = f"{quoted(database)}.{quoted(schema)}"
    return (
        f"{first}; GRANT USAGE ON SCHEMA {place} {grantee}; GRANT REFERENCES ON ALL TABLES IN SCHEMA {place} {grantee}"
    )


def named(role: str | None) -> str:
    return quoted(role) if role else "<role>"
