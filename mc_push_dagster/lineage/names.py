"""How each dialect writes names: case, lateral aliases, names of unnamed columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

Name = tuple[str, ...]
"""A table's name by its parts, the last one being the table; as many parts as are known."""


class Case(StrEnum):
    """What a warehouse does to an identifier that stands without quotes."""

    UPPER = "upper"
    LOWER = "lower"
    KEEP = "keep"


class Unnamed(StrEnum):
    """What a warehouse calls a column whose expression has no alias."""

    TEXT = "text"
    """The expression's own text (Snowflake, Spark, DuckDB)."""
    POSTGRES = "postgres"
    """The outermost function's name, else `?column?` (PostgreSQL, FigureColname in parse_target.c)."""
    BIGQUERY = "bigquery"
    """`f0_`, `f1_` ... (BigQuery, "Implicit aliases")."""
    HIVE = "hive"
    """`_c0`, `_c1` ... by position (Hive, hive.autogen.columnalias.prefix.label)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The facts of one dialect that lineage needs."""

    sqlglot: str
    """The name by which sqlglot knows the dialect; empty for its own superset."""
    case: Case = Case.KEEP
    quoted_keeps_case: bool = True
    """False where quotes do not make a name case-sensitive."""
    lateral_aliases: bool = False
    """True where a select item may use an earlier item's alias."""
    unnamed: Unnamed = Unnamed.TEXT
    recursion_unmarked: bool = False
    """True where a recursive WITH needs no RECURSIVE."""
    struct_is_function: bool = False
    """True where `STRUCT(` always builds a value; sqlglot tries it as a type first, at each level of nesting."""
    partition_decorators: bool = False
    """True where `t$20260101` is a partition of `t`."""
    use_names_schema: bool = False
    """True where `USE x` names a schema (Hive's and MySQL's databases are schemas)."""
    array_joins: bool = False
    """True where `FROM t, t.items` unnests a column."""

    def fold(self, identifier: str, *, quoted: bool) -> str:
        """Return `identifier` as the warehouse stores it."""
        if self.case is Case.KEEP or (quoted and self.quoted_keeps_case):
            return identifier
        return identifier.upper() if self.case is Case.UPPER else identifier.lower()


_SPARK = {
    "case": Case.LOWER,
    "quoted_keeps_case": False,
    "lateral_aliases": True,
    "use_names_schema": True,
    "struct_is_function": True,
}

_SPARK = Rules(
    sqlglot="spark",
    case=Case.LOWER,
    quoted_keeps_case=False,
    lateral_aliases=True,
    use_names_schema=True,
    struct_is_function=True,
)

RULES = {
    "snowflake": Rules(sqlglot="snowflake", case=Case.UPPER, lateral_aliases=True, recursion_unmarked=True),
    "bigquery": Rules(
        sqlglot="bigquery",
        unnamed=Unnamed.BIGQUERY,
        array_joins=True,
        struct_is_function=True,
        partition_decorators=True,
    ),
    "databricks": replace(_SPARK, sqlglot="databricks"),
    "spark": _SPARK,
    "hive": replace(_SPARK, sqlglot="hive", lateral_aliases=False, unnamed=Unnamed.HIVE),
    "redshift": Rules(
        sqlglot="redshift",
        case=Case.LOWER,
        quoted_keeps_case=False,  # enable_case_sensitive_identifier is off by default
        lateral_aliases=True,
        unnamed=Unnamed.POSTGRES,
        array_joins=True,
    ),
    "postgres": Rules(sqlglot="postgres", case=Case.LOWER, unnamed=Unnamed.POSTGRES),
    "duckdb": Rules(sqlglot="duckdb", quoted_keeps_case=False, lateral_aliases=True),
    "trino": Rules(sqlglot="trino", case=Case.LOWER, quoted_keeps_case=False),
    "athena": Rules(sqlglot="athena", case=Case.LOWER, quoted_keeps_case=False),
    "mysql": Rules(sqlglot="mysql", use_names_schema=True),
    "tsql": Rules(sqlglot="tsql", recursion_unmarked=True),
    "oracle": Rules(sqlglot="oracle", case=Case.UPPER, recursion_unmarked=True),
    "teradata": Rules(sqlglot="teradata", lateral_aliases=True),
    "clickhouse": Rules(sqlglot="clickhouse", lateral_aliases=True),
    "sqlite": Rules(sqlglot="sqlite"),
    "exasol": Rules(sqlglot="exasol", case=Case.UPPER),
    "materialize": Rules(sqlglot="materialize", case=Case.LOWER, unnamed=Unnamed.POSTGRES),
    # Nothing is known of a generic dialect: sqlglot's superset reads it, names stay as written.
    "generic": Rules(sqlglot="", lateral_aliases=True, recursion_unmarked=True),
}

_ALSO = {
    "": "generic",
    "ansi": "generic",
    "db2": "generic",
    "sqlserver": "tsql",
    "mssql": "tsql",
    "mariadb": "mysql",
    "postgresql": "postgres",
    "greenplum": "postgres",
    "sparksql": "spark",
    "presto": "trino",
    "big_query": "bigquery",
}


def rules_of(dialect: str | None) -> Rules:
    """Return the rules of a dialect by any of its usual names; those of the generic one where the name is unknown."""
    name = (dialect or "").strip().lower()
    return RULES.get(_ALSO.get(name, name), RULES["generic"])


def dotted(name: Name) -> str:
    """Return the name as people write it: `database.schema.table`, without quotes."""
    return ".".join(part for part in name if part)
