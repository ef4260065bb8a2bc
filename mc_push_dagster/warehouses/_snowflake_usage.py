"""The statements of Snowflake's ACCOUNT_USAGE: tags, writes, lineage, query log."""

from __future__ import annotations

from datetime import datetime, timedelta

from mc_push_dagster.model import Scope, Window
from mc_push_dagster.warehouses._query_log import QueryLogFilter
from mc_push_dagster.warehouses._snowflake_sql import ESCAPE, Binds, Statement, information_schema, tagging
from mc_push_dagster.warehouses.base import scope_condition

LONGEST_STATEMENT = timedelta(days=7)
"""No statement runs longer (STATEMENT_TIMEOUT_IN_SECONDS, maximum 604800): lets the log be pruned by start time."""

TABLE_DOMAINS = (
    "TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "EXTERNAL TABLE",
    "DYNAMIC TABLE",
    "ICEBERG TABLE",
    "EVENT TABLE",
    "HYBRID TABLE",
)
"""Object domains that are tables or views to us; ACCESS_HISTORY writes them in mixed case."""


def tag_references(scope: Scope) -> Statement:
    """Tags set on tables and views themselves (not on columns, schemas or databases)."""
    bind = Binds()
    names = ("r.object_database", "r.object_schema", "r.object_name")
    return bind.statement(
        "SELECT r.object_database, r.object_schema, r.object_name, r.tag_name, r.tag_value",
        "FROM SNOWFLAKE.ACCOUNT_USAGE.TAG_REFERENCES AS r",
        "WHERE r.object_deleted IS NULL AND r.column_name IS NULL AND r.object_schema IS NOT NULL",
        "AND r.domain IN", _domains(), "AND", scope_condition(scope, names, bind, escape_clause=ESCAPE),
        "ORDER BY r.object_database, r.object_schema, r.object_name, r.tag_name, COALESCE(r.tag_value, '')",
    )  # fmt: skip


def last_writes(since: datetime) -> Statement:
    """The last write of each table since `since`, by the log of writes (Enterprise Edition)."""
    bind = Binds()
    return bind.statement(
        "SELECT m.value:objectName::STRING AS object_name, MAX(h.query_start_time) AS written_at",
        "FROM SNOWFLAKE.ACCOUNT_USAGE.ACCESS_HISTORY AS h, LATERAL FLATTEN(input => h.objects_modified) AS m",
        "WHERE h.query_start_time >=", f"CAST({bind(since)} AS TIMESTAMP_LTZ)",
        "AND UPPER(m.value:objectDomain::STRING) IN", _domains(), "GROUP BY 1 ORDER BY 1",
    )  # fmt: skip


_ACCESS = (
    "FROM SNOWFLAKE.ACCOUNT_USAGE.ACCESS_HISTORY AS h, LATERAL FLATTEN(input => h.objects_modified) AS m,",
    "MIN(h.query_start_time) AS first_seen, MAX(h.query_start_time) AS last_seen,",
    "MAX_BY(h.query_id, h.query_start_time) AS query_id",
)


def table_lineage(window: Window) -> Statement:
    """Pairs of a table written and an object read by the same statement, with the last such statement."""
    bind = Binds()
    source, *seen = _ACCESS
    return bind.statement(
        "SELECT m.value:objectName::STRING AS destination, m.value:objectDomain::STRING AS destination_domain,",
        "s.value:objectName::STRING AS source, s.value:objectDomain::STRING AS source_domain,", *seen,
        source, "LATERAL FLATTEN(input => h.direct_objects_accessed) AS s",
        "WHERE", *_within("h.query_start_time", window, bind),
        "AND UPPER(m.value:objectDomain::STRING) IN", _domains(),
        "AND UPPER(s.value:objectDomain::STRING) IN", _domains(),
        "AND s.value:objectName::STRING <> m.value:objectName::STRING GROUP BY 1, 2, 3, 4 ORDER BY 1, 3, 2, 4",
    )  # fmt: skip


def column_lineage(window: Window) -> Statement:
    """Pairs of a column written and a column its values come from, with the last such statement."""
    bind = Binds()
    source, *seen = _ACCESS
    return bind.statement(
        "SELECT m.value:objectName::STRING AS destination, m.value:objectDomain::STRING AS destination_domain,",
        "c.value:columnName::STRING AS destination_column, s.value:objectName::STRING AS source,",
        "s.value:objectDomain::STRING AS source_domain, s.value:columnName::STRING AS source_column,", *seen,
        source, "LATERAL FLATTEN(input => m.value:columns) AS c,",
        "LATERAL FLATTEN(input => c.value:directSources) AS s",
        "WHERE", *_within("h.query_start_time", window, bind),
        "AND UPPER(m.value:objectDomain::STRING) IN", _domains(),
        "AND UPPER(s.value:objectDomain::STRING) IN", _domains(),
        # A record that is too large is cut: the number -1 and the word TRUNCATED stand for what is gone.
        "AND c.value:columnId::INTEGER <> -1 AND s.value:columnName IS NOT NULL",
        "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 3, 4, 6, 2, 5",
    )  # fmt: skip


def dependencies(scope: Scope) -> Statement:
    """Standing dependencies between tables and views (a view on its tables)."""
    bind = Binds()
    names = ("d.referencing_database", "d.referencing_schema", "d.referencing_object_name")
    return bind.statement(
        "SELECT d.referencing_database, d.referencing_schema, d.referencing_object_name, d.referencing_object_domain,",
        "d.referenced_database, d.referenced_schema, d.referenced_object_name, d.referenced_object_domain",
        "FROM SNOWFLAKE.ACCOUNT_USAGE.OBJECT_DEPENDENCIES AS d",
        "WHERE d.referencing_object_domain IN", _domains(), "AND d.referenced_object_domain IN", _domains(),
        "AND", scope_condition(scope, names, bind, escape_clause=ESCAPE), "ORDER BY 1, 2, 3, 5, 6, 7",
    )  # fmt: skip


def dynamic_tables(database: str) -> Statement:
    """What each dynamic table of the account reads; any database's INFORMATION_SCHEMA serves the function."""
    function = information_schema(database, "DYNAMIC_TABLE_GRAPH_HISTORY()")
    return Statement(
        " ".join(
            (
                "SELECT d.database_name, d.schema_name, d.name, i.value:name::STRING AS source,",
                "i.value:kind::STRING AS source_domain FROM TABLE(", function, ") AS d,",
                "LATERAL FLATTEN(input => d.inputs) AS i WHERE d.valid_to IS NULL ORDER BY 1, 2, 3, 4",
            )
        )
    )  # fmt: skip


QUERY_FIELDS = """SELECT q.query_id, q.query_text, q.start_time, q.end_time, q.user_name, q.rows_produced,
    q.execution_status, q.error_code, q.error_message, q.database_name, q.schema_name, q.session_id, q.query_type,
    q.query_tag, q.role_name, q.warehouse_name, q.warehouse_size, q.bytes_scanned, q.total_elapsed_time,
    q.rows_inserted, q.rows_updated, q.rows_deleted
FROM SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY AS q"""


def queries(window: Window, *, own_tag: str, chosen: QueryLogFilter) -> Statement:
    """The statements that ended in `window`, by their end; those that carry our tag are left out."""
    bind = Binds()
    return bind.statement(
        QUERY_FIELDS, "WHERE", *_within("q.end_time", window, bind),
        "AND", f"q.start_time >= CAST({bind(window.start - LONGEST_STATEMENT)} AS TIMESTAMP_LTZ)",
        "AND q.query_text IS NOT NULL AND q.query_text <> ''",
        f"AND (q.query_tag IS NULL OR q.query_tag <> {bind(own_tag)})",
        # The statement that sets the tag is itself logged without it.
        f"AND NOT STARTSWITH(q.query_text, {bind(tagging(own_tag))})",
        chosen.condition(user="q.user_name", text="q.query_text", bind=bind, escape_clause=ESCAPE),
        "ORDER BY q.end_time, q.query_id",
    )  # fmt: skip


def _within(column: str, window: Window, bind: Binds) -> tuple[str, str]:
    return (
        f"{column} >= CAST({bind(window.start)} AS TIMESTAMP_LTZ)",
        f"AND {column} < CAST({bind(window.end)} AS TIMESTAMP_LTZ)",
    )


def _domains() -> str:
    return "(" + ", ".join(f"'{domain}'" for domain in TABLE_DOMAINS) + ")"
