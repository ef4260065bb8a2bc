"""Every statement that BigQuery is asked, as text with query parameters; nothing here talks to a server.

Views and their columns: cloud.google.com/bigquery/docs, "Introduction to INFORMATION_SCHEMA"; the test
`test_bigquery_shapes.py` holds each column named here against the documented shape of its view.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mc_push_dagster.model import Scope, Window
from mc_push_dagster.warehouses._query_log import QueryLogFilter
from mc_push_dagster.warehouses.base import scope_condition

SHARD = r"_(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
"""The end of a date shard's name, [PREFIX]_YYYYMMDD (docs, "Introduction to partitioned tables", on sharding)."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named query parameter and its GoogleSQL type."""

    name: str
    kind: str
    value: str | datetime


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and the values it binds."""

    text: str
    parameters: tuple[Parameter, ...] = ()


class Binds:
    """Collects the values of one statement as `@p0`, `@p1` ..."""

    def __init__(self) -> None:
        self._values: list[Parameter] = []

    def __call__(self, value: str | datetime) -> str:
        name = f"p{len(self._values)}"
        self._values.append(Parameter(name, "TIMESTAMP" if isinstance(value, datetime) else "STRING", value))
        return f"@{name}"

    def statement(self, *parts: str) -> Statement:
        return Statement(" ".join(part for part in parts if part), tuple(self._values))


def quoted(identifier: str) -> str:
    """Return `identifier` in backticks; backslash and backtick are escaped (GoogleSQL, "Quoted identifiers")."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a statement reads: a project's INFORMATION_SCHEMA in one region, perhaps that of one dataset."""

    project: str
    region: str
    dataset: str | None = None

    def view(self, name: str) -> str:
        qualifier = f"region-{self.region}" if self.dataset is None else self.dataset
        return f"{quoted(self.project)}.{quoted(qualifier)}.INFORMATION_SCHEMA.{name}"

    def __str__(self) -> str:
        return f"{self.project}.region-{self.region}" if self.dataset is None else f"{self.project}.{self.dataset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which tables are read, and whether date shards are one asset."""

    scope: Scope
    fold: bool = True
    biglake: bool = False
    """Only Iceberg tables that BigQuery manages (managed_table_type BIGLAKE)."""

    def asset(self, alias: str) -> str:
        """A SQL expression for the name a table goes by."""
        if not self.fold:
            return f"{alias}.table_name"
        return f"IF({alias}.table_type = 'BASE TABLE', {_folded(f'{alias}.table_name')}, {alias}.table_name)"

    def where(self, alias: str, bind: Binds) -> str:
        names = (f"{alias}.table_catalog", f"{alias}.table_schema", self.asset(alias))
        # LIKE escapes with a backslash in the pattern; GoogleSQL has no ESCAPE clause (Operators, "LIKE operators").
        tests = [scope_condition(self.scope, names, bind, escape_clause="")]
        if self.biglake:
            tests.append(f"{alias}.managed_table_type = 'BIGLAKE'")
        return " AND ".join(tests)

    def order(self, alias: str) -> str:
        return f"ORDER BY {alias}.table_schema, asset_name, {alias}.table_name"


def _folded(name: str) -> str:
    return f"IF(REGEXP_CONTAINS({name}, r'{SHARD}'), CONCAT(SUBSTR({name}, 1, LENGTH({name}) - 8), '*'), {name})"


def _same(left: str, right: str) -> str:
    return f"{left}.table_schema = {right}.table_schema AND {left}.table_name = {right}.table_name"


def tables(place: Place, chosen: Chosen) -> Statement:
    """Tables and views, in order of names; `ddl` only where no other view has the text."""
    bind = Binds()
    return bind.statement(
        "SELECT t.table_schema,", chosen.asset("t"), "AS asset_name, t.table_name, t.table_type, t.managed_table_type,",
        "t.creation_time, IF(t.table_type = 'MATERIALIZED VIEW', t.ddl, NULL) AS ddl",
        "FROM", place.view("TABLES"), "AS t WHERE", chosen.where("t", bind), chosen.order("t"),
    )  # fmt: skip


def storage(place: Place, chosen: Chosen) -> Statement:
    """Rows, bytes and time of the last change of data, in the order of `tables`."""
    bind = Binds()
    return bind.statement(
        "SELECT t.table_schema,", chosen.asset("t"), "AS asset_name, t.table_name, s.total_rows,",
        "s.total_logical_bytes, s.current_physical_bytes, s.storage_last_modified_time",
        "FROM", place.view("TABLES"), "AS t JOIN", place.view("TABLE_STORAGE"), "AS s ON", _same("s", "t"),
        # A dropped table keeps its row while time travel lasts, beside that of a new one of its name.
        "AND s.deleted = FALSE WHERE", chosen.where("t", bind), chosen.order("t"),
    )  # fmt: skip


def options(place: Place, chosen: Chosen) -> Statement:
    """Descriptions and labels as GoogleSQL literals, in the order of `tables`."""
    bind = Binds()
    return bind.statement(
        "SELECT t.table_schema,", chosen.asset("t"), "AS asset_name, t.table_name, o.option_name, o.option_value",
        "FROM", place.view("TABLES"), "AS t JOIN", place.view("TABLE_OPTIONS"), "AS o ON", _same("o", "t"),
        "WHERE o.option_name IN ('description', 'labels') AND", chosen.where("t", bind),
        chosen.order("t") + ", o.option_name",
    )  # fmt: skip


def views(place: Place, chosen: Chosen) -> Statement:
    """Texts of views, in the order of `tables`."""
    bind = Binds()
    names = ("v.table_catalog", "v.table_schema", "v.table_name")
    return bind.statement(
        "SELECT v.table_schema, v.table_name AS asset_name, v.table_name, v.view_definition",
        "FROM", place.view("VIEWS"), "AS v WHERE", scope_condition(chosen.scope, names, bind, escape_clause=""),
        "ORDER BY v.table_schema, v.table_name",
    )  # fmt: skip


def _newest(chosen: Chosen) -> str:
    """Of the shards of one asset only the newest has the schema."""
    if not chosen.fold:
        return ""
    return f"QUALIFY t.table_name = MAX(t.table_name) OVER (PARTITION BY t.table_schema, {chosen.asset('t')})"


def columns(place: Place, chosen: Chosen) -> Statement:
    """Columns in order of names and position; a table without columns has one row with `column_name` NULL."""
    bind = Binds()
    return bind.statement(
        "SELECT t.table_schema,", chosen.asset("t"), "AS asset_name, t.table_name, c.column_name, c.data_type,",
        "f.description FROM", place.view("TABLES"), "AS t LEFT JOIN", place.view("COLUMNS"), "AS c ON", _same("c", "t"),
        "AND COALESCE(c.is_hidden, 'NO') <> 'YES' LEFT JOIN", place.view("COLUMN_FIELD_PATHS"), "AS f ON",
        _same("f", "t"), "AND f.column_name = c.column_name AND f.field_path = c.column_name",
        "WHERE", chosen.where("t", bind), _newest(chosen), chosen.order("t") + ", c.ordinal_position",
    )  # fmt: skip


def fingerprint(place: Place, chosen: Chosen) -> Statement:
    """One digest over all columns: an exclusive or does not depend on the order of rows."""
    bind = Binds()
    parts = ("t.table_schema", "asset_name", "c.column_name", "COALESCE(c.data_type, '')")
    return bind.statement(
        "SELECT COUNT(*) AS column_count, COALESCE(BIT_XOR(d.digest), 0) AS digest FROM (SELECT FARM_FINGERPRINT(",
        # No name may hold a control character: it keeps the parts apart.
        "CONCAT(" + r", '\x1f', ".join(chosen.asset("t") if part == "asset_name" else part for part in parts) + ")",
        ") AS digest FROM", place.view("TABLES"), "AS t JOIN", place.view("COLUMNS"), "AS c ON", _same("c", "t"),
        "WHERE", chosen.where("t", bind), "AND COALESCE(c.is_hidden, 'NO') <> 'YES'", _newest(chosen), ") AS d",
    )  # fmt: skip


def probe(place: Place, view: str) -> Statement:
    """Ask whether `view` may be read; as a dry run it is checked and not run, and costs nothing."""
    return Statement(" ".join(("SELECT 1 FROM", place.view(view), "LIMIT 1")))


JOB_VIEWS = {
    "project": "JOBS_BY_PROJECT",
    "user": "JOBS_BY_USER",
    "folder": "JOBS_BY_FOLDER",
    "organization": "JOBS_BY_ORGANIZATION",
}

JOB_FIELDS = """SELECT j.project_id, j.job_id, j.query, j.creation_time, j.start_time, j.end_time, j.user_email,
    j.statement_type, j.priority, j.reservation_id, j.total_bytes_processed, j.total_bytes_billed, j.total_slot_ms,
    j.cache_hit, j.error_result, j.destination_table, j.labels, j.dml_statistics, j.parent_job_id, j.session_info
FROM"""


def _ended(alias: str, window: Window, longest: timedelta, bind: Binds) -> str:
    """Jobs that ended in `window`; the view is partitioned by creation_time, which bounds what is read and billed."""
    return (
        f"{alias}.creation_time >= {bind(window.start - longest)} AND {alias}.creation_time < {bind(window.end)} "
        f"AND {alias}.end_time >= {bind(window.start)} AND {alias}.end_time < {bind(window.end)}"
    )


def _not_ours(alias: str, label: str, bind: Binds) -> str:
    return " ".join(("NOT EXISTS (SELECT 1 FROM", f"UNNEST({alias}.labels) AS l WHERE l.key = {bind(label)})"))


def queries(
    place: Place, window: Window, *, view: str, own_label: str, longest: timedelta, chosen: QueryLogFilter
) -> Statement:
    """The query jobs that ended in `window`, by their end, without ours.

    A script is logged as a parent job with the whole text and a child job a statement. The children stand for their
    parent, so that nothing counts twice; a parent stays where it has no child, or where it failed and no child did.
    """
    bind = Binds()
    jobs = place.view(view)
    return bind.statement(
        JOB_FIELDS, jobs, "AS j LEFT JOIN (",
        "SELECT c.parent_job_id AS script, LOGICAL_OR(c.error_result.reason IS NOT NULL) AS failed FROM", jobs, "AS c",
        "WHERE c.parent_job_id IS NOT NULL AND c.job_type = 'QUERY'",
        f"AND c.creation_time >= {bind(window.start - longest)} AND c.creation_time < {bind(window.end)}",
        "GROUP BY script) AS s ON s.script = j.job_id",
        "WHERE j.job_type = 'QUERY' AND j.state = 'DONE' AND j.query IS NOT NULL AND j.query <> ''",
        "AND", _ended("j", window, longest, bind), "AND", _not_ours("j", own_label, bind),
        "AND (s.script IS NULL OR (j.error_result.reason IS NOT NULL AND NOT s.failed))",
        chosen.condition(user="j.user_email", text="j.query", bind=bind),
        "ORDER BY j.end_time, j.job_id",
    )  # fmt: skip


def job_projects(place: Place, window: Window, *, view: str, longest: timedelta) -> Statement:
    """The projects of a folder or an organization whose jobs ended in `window`."""
    bind = Binds()
    return bind.statement(
        "SELECT DISTINCT j.project_id FROM", place.view(view), "AS j",
        "WHERE", _ended("j", window, longest, bind), "ORDER BY j.project_id",
    )  # fmt: skip


def lineage(place: Place, window: Window, *, view: str, longest: timedelta, fold: bool) -> Statement:
    """Pairs of a table written and a table read by the same job, with the last such job.

    Datasets whose names begin with an underscore are hidden: they hold anonymous results and temporary tables.
    """
    bind = Binds()
    written = r"REGEXP_REPLACE(j.destination_table.table_id, r'\$.*$', '')"  # a partition decorator is no name
    read = r"REGEXP_REPLACE(r.table_id, r'\$.*$', '')"
    if fold:
        # A job may have read some of the shards by a longer prefix, `events_202601*`: they are one asset all the same.
        read = f"REGEXP_REPLACE({read}, r'_[0-9]{{1,7}}[*]$', '_*')"
        written, read = _folded(written), _folded(read)
    return bind.statement(
        "SELECT j.destination_table.project_id AS destination_project,",
        f"j.destination_table.dataset_id AS destination_dataset, {written} AS destination_name,",
        f"r.project_id AS source_project, r.dataset_id AS source_dataset, {read} AS source_name,",
        "MIN(j.end_time) AS first_seen, MAX(j.end_time) AS last_seen, MAX_BY(j.job_id, j.end_time) AS job_id",
        "FROM", place.view(view), "AS j CROSS JOIN UNNEST(j.referenced_tables) AS r",
        "WHERE", _ended("j", window, longest, bind),
        "AND j.state = 'DONE' AND j.error_result.reason IS NULL AND COALESCE(j.statement_type, '') <> 'SCRIPT'",
        "AND NOT STARTS_WITH(j.destination_table.dataset_id, '_') AND NOT STARTS_WITH(r.dataset_id, '_')",
        "AND UPPER(r.dataset_id) <> 'INFORMATION_SCHEMA' AND NOT STARTS_WITH(r.table_id, 'INFORMATION_SCHEMA.')",
        "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6",
    )  # fmt: skip


def shares(place: Place, chosen: Chosen) -> Statement:
    """Tables of datasets that other projects have linked (BigQuery sharing), with the linked dataset."""
    bind = Binds()
    return bind.statement(
        "SELECT DISTINCT t.table_schema,", chosen.asset("t"), "AS asset_name, t.table_type,",
        "l.linked_schema_catalog_name, l.linked_schema_name FROM", place.view("SCHEMATA_LINKS"), "AS l JOIN",
        place.view("TABLES"), "AS t ON t.table_schema = l.schema_name",
        # A data clean room shares single tables of a dataset, which this view does not name.
        "WHERE COALESCE(l.link_type, 'REGULAR') = 'REGULAR' AND l.linked_schema_catalog_name IS NOT NULL",
        "AND", chosen.where("t", bind), "ORDER BY 1, 2, 4, 5, 3",
    )  # fmt: skip
