"""`mc-push lineage`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from mc_push_dagster.errors import FixConfiguration

if TYPE_CHECKING:
    from mc_push_dagster.lineage import DictCatalog, Statement
    from mc_push_dagster.lineage.explaining import Line
    from mc_push_dagster.model import ColumnEdge, LineageEdge
    from mc_push_dagster.warehouses.base import Warehouse

_SHOWN = 40
_STATEMENTS = 5
_STYLES = {"source": "bold reverse cyan", "destination": "bold reverse green"}


@click.group(invoke_without_command=True)
@click.option("--jsonl", is_flag=True, help="Read cases from standard input, one JSON object a line.")
@click.option("--workers", type=click.IntRange(1, 256), default=None, help="Processes. Default: one for each core.")
@click.pass_context
def lineage(context: click.Context, jsonl: bool, workers: int | None) -> None:
    """Lineage of SQL.

    With --jsonl a case has `sql` (a text, or a list of texts of one session) and may have `id`, `dialect`, `schemas`
    (table -> columns), `default_db` and `default_schema`. Its answer has `id`, `tables`, `inputs`, `outputs`,
    `columns`, `confidence` and `error`.
    """
    if context.invoked_subcommand is not None:
        return
    if not jsonl:
        click.echo(context.get_help())
        return
    from mc_push_dagster.lineage.lines import answered

    out = sys.stdout.buffer
    for line in answered(sys.stdin.buffer, workers=workers or _cores()):
        out.write(line + b"\n")
        out.flush()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lineage.command()
@click.argument("table", required=False)
@click.option("--file", "file", type=click.File("r", encoding="utf-8"), help="SQL text; `-` is standard input.")
@click.option(
    "--dialect", help="The dialect of --file: snowflake, bigquery, databricks, redshift, postgres, duckdb ..."
)
@click.option("--database", help="Default database of unqualified names in --file.")
@click.option("--schema", help="Default schema of unqualified names in --file.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="MC_PUSH_CONFIG",
    help="A configuration file, or a Dagster component's defs.yaml. Default: the demo shop.",
    show_envvar=True,
)
@click.option(
    "--hours", type=click.IntRange(1, 24 * 31), default=24, show_default=True, help="How far back the log is read."
)
def explain(
    table: str | None,
    file: TextIO | None,
    dialect: str | None,
    database: str | None,
    schema: str | None,
    config_path: Path | None,
    hours: int,
) -> None:
    """Show where lineage comes from: the edges with their evidence, and the statements behind them.

    Either of a warehouse's TABLE (a pattern such as shop.sales.* will do), or of the SQL in a --file.
    """
    if file is not None:
        _explain_text(file.read(), dialect or "generic", database=database, schema=schema)
    elif table is not None:
        _explain_table(table, config_path, hours)
    else:
        raise click.UsageError("name a TABLE of the warehouse, or give SQL with --file")


def _explain_text(sql: str, dialect: str, *, database: str | None, schema: str | None) -> None:
    from mc_push_dagster.lineage.explaining import of_text

    lines, error = of_text(sql, dialect=dialect, default_db=database, default_schema=schema)
    _show(sql, dialect, lines)
    if error is not None:
        click.echo(f"Not all of it could be used: {error}", err=True)
    if not lines:
        click.echo("No lineage: nothing is read from one table and written to another.")


def _explain_table(table: str, config_path: Path | None, hours: int) -> None:
    from mc_push_dagster.cli.options import open_config
    from mc_push_dagster.flow.written import derived
    from mc_push_dagster.lineage import Graph, Skipped
    from mc_push_dagster.lineage.explaining import of_edges
    from mc_push_dagster.lineage.opinion import second_opinion
    from mc_push_dagster.model import EvidenceKind, Gap, TablePattern, Window

    try:
        pattern = TablePattern.parse(table)
    except ValueError as error:
        raise FixConfiguration(str(error)) from error
    config = open_config(config_path)
    warehouse = config.open_warehouse()
    opinion = second_opinion(config.lineage_second_opinion, warehouse.dialect)
    now = datetime.now(UTC)
    window = Window(start=now - timedelta(hours=hours), end=now)
    catalog, views = _catalog(warehouse)
    graph = Graph()
    native = (item for item in warehouse.lineage(window) if not isinstance(item, Gap))
    graph.extend(e for e in native if pattern.matches(e.destination))
    statements = chain(views, _queries(warehouse, window))
    workers = config.lineage_workers
    for item in derived(warehouse, statements, catalog=catalog, workers=workers, opinion=opinion):
        if not isinstance(item, Skipped) and pattern.matches(item.destination):
            graph.add(item)
    edges = list(graph.edges())
    if not edges:
        click.echo(f"Nothing flows into {table}, as far as views and the last {hours} hours of the log show.")
        return
    _edges(of_edges(edges))
    wanted = {e.evidence.reference for e in edges if e.evidence.kind in (EvidenceKind.VIEW, EvidenceKind.QUERY)}
    _show_statements(chain(views, _queries(warehouse, window)), wanted, warehouse.dialect, edges)


def _catalog(warehouse: Warehouse) -> tuple[DictCatalog, list[Statement]]:
    """The warehouse's tables with their columns, and its views' texts."""
    from mc_push_dagster.flow.collect import snapshots
    from mc_push_dagster.lineage import DictCatalog, Statement
    from mc_push_dagster.model import TableSnapshot

    tables = [item for item in snapshots(warehouse) if isinstance(item, TableSnapshot)]
    columns = {t.ref: {c.name: c.type for c in t.columns} if t.columns is not None else None for t in tables}
    views = [
        Statement(sql=t.view_query, database=t.ref.database, schema=t.ref.schema, view=t.ref)
        for t in tables
        if t.view_query
    ]
    return DictCatalog(columns), views


def _queries(warehouse: Warehouse, window: object) -> Iterator[Statement]:
    from mc_push_dagster.lineage import Statement

    for record in warehouse.queries(window):  # pyright: ignore[reportArgumentType]
        if not record.failed:
            yield Statement(
                sql=record.text,
                query_id=record.query_id,
                at=record.ended_at,
                session_id=record.session_id,
                database=record.database,
                schema=record.schema,
            )


def _show_statements(
    statements: Iterable[Statement], wanted: set[str | None], dialect: str, edges: list[LineageEdge | ColumnEdge]
) -> None:
    from mc_push_dagster.lineage.explaining import of_edges

    behind = (s for s in statements if (str(s.view) if s.view is not None else s.query_id) in wanted)
    for statement in islice(behind, _STATEMENTS):
        reference = str(statement.view) if statement.view is not None else statement.query_id
        click.echo(f"\n{'view' if statement.view is not None else 'query'} {reference}:")
        _sql(statement.sql, dialect, of_edges(e for e in edges if e.evidence.reference == reference))


def _show(sql: str, dialect: str, lines: list[Line]) -> None:
    _sql(sql, dialect, lines)
    if lines:
        click.echo()
        _edges(lines)


def _sql(sql: str, dialect: str, lines: list[Line]) -> None:
    from rich.syntax import Syntax

    from mc_push_dagster.cli.screen import out
    from mc_push_dagster.lineage.explaining import marks

    syntax = Syntax(sql, "sql", theme="ansi_dark", background_color="default")
    text = syntax.highlight(sql)
    for start, end, role in marks(sql, dialect, lines):
        text.stylize(_STYLES[role], start, end)
    out.print(text, soft_wrap=True)


def _edges(lines: Iterable[Line]) -> None:
    """Edges under what they flow into, tables before columns; a name is never broken, however narrow the screen."""
    from rich.text import Text

    from mc_push_dagster.cli.screen import out
    from mc_push_dagster.lineage.explaining import groups

    database, grouped = groups(lines)
    if database:
        out.print(f"In database {database}:", soft_wrap=True)
    left = _SHOWN
    for destination, sources in grouped:
        if left <= 0:
            break
        out.print(Text(destination, style="bold"), soft_wrap=True)
        for line in sources[:left]:
            evidence = f"  ({line.evidence})" if line.evidence else ""
            text = Text(f"  {line.confidence:>4.0%}  from {line.name}")
            if evidence and len(text) + len(evidence) > out.width:
                evidence = f"\n        {evidence}"
            out.print(text.append(evidence, style="dim"), soft_wrap=True)
        left -= len(sources)
    more = sum(len(sources) for _, sources in grouped) - _SHOWN
    if more > 0:
        out.print(f"... and {more} more edges; name fewer tables to see them.", soft_wrap=True)


__all__ = ["lineage"]
