"""Which tables a query reads and writes, for `getAggregatedQueries`.

How Monte Carlo attributes queries is not public; here sqlglot parses the text, and a name counts when its parts agree.
A statement sqlglot cannot read is attributed to no table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mc_push_dagster.sandbox.contract import LOG_TYPES

Name = tuple[str, str, str]
"""Catalog, schema and name in lower case; empty where the text does not say."""

_CATEGORIES: tuple[tuple[type[exp.Expr], str], ...] = (
    (exp.Merge, "merge"),
    (exp.Update, "update"),
    (exp.Delete, "delete_from"),
    (exp.Drop, "drop_table"),
    (exp.TruncateTable, "truncate"),
    (exp.Alter, "alter"),
    (exp.Copy, "copy"),
    (exp.Describe, "explain"),
    (exp.Query, "query"),
)
"""sqlglot's class to the schema's `QueryCategory`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What one statement touches."""

    reads: frozenset[Name] = frozenset()
    writes: frozenset[Name] = frozenset()
    category: str | None = None


@lru_cache(maxsize=20_000)
def attribute(text: str, log_type: str) -> Attribution:
    """Parse `text` in the dialect that its log type stands for."""
    try:
        statement = sqlglot.parse_one(text, dialect=LOG_TYPES.get(log_type) or None)
    except (SqlglotError, RecursionError):
        return Attribution()
    target = _target(statement)
    ctes = {c.alias_or_name.lower() for c in statement.find_all(exp.CTE)}
    reads = {_name(t) for t in statement.find_all(exp.Table) if t is not target and t.name}
    return Attribution(
        reads=frozenset(r for r in reads if r[:2] != ("", "") or r[2] not in ctes),
        writes=frozenset({_name(target)}) if target is not None else frozenset(),
        category=_category(statement),
    )


def touches(names: frozenset[Name], database: str, schema: str, name: str) -> bool:
    """Whether one of `names` is this table; two-part names may be schema.table or, as Spark has it, database.table."""
    database, schema, name = database.lower(), schema.lower(), name.lower()
    return any(
        n == name and c in ("", database) and (s in ("", schema) or (not c and s == database)) for c, s, n in names
    )


def _target(statement: exp.Expr) -> exp.Table | None:
    if not isinstance(statement, exp.Insert | exp.Create | exp.Merge | exp.Update | exp.Delete | exp.TruncateTable):
        return None
    this = statement.expressions[0] if isinstance(statement, exp.TruncateTable) else statement.this
    if isinstance(this, exp.Schema):
        this = this.this
    return this if isinstance(this, exp.Table) else None


def _category(statement: exp.Expr) -> str | None:
    if isinstance(statement, exp.Insert):
        return "insert_overwrite" if statement.args.get("overwrite") else "insert_into"
    if isinstance(statement, exp.Create):
        if statement.kind == "VIEW":
            return "create_view"
        return "create_table_as_select" if statement.expression else "create_table"
    return next((name for kind, name in _CATEGORIES if isinstance(statement, kind)), None)


def _name(table: exp.Table) -> Name:
    return (table.catalog.lower(), table.db.lower(), table.name.lower())
