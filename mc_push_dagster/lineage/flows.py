"""Flows, made of what a reader has read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.relations import Output, Source, renamed
from mc_push_dagster.lineage.steps import Flow

Columns = Iterable[tuple[Output, str]]


def flow(
    reader: Reader,
    destination: Name | None,
    columns: Columns = (),
    *,
    outputs: Sequence[str] | None = None,
    **more: bool,
) -> Flow:
    """A `Flow` of what `reader` has read so far."""
    edges: dict[tuple[Source, str], None] = {}
    for output, target in columns:
        for source in sorted(output.sources):
            edges[source, target] = None
    total = reader.resolved + reader.unresolved
    known = sum(reader.reads.values()) / len(reader.reads) if reader.reads else 1.0
    return Flow(
        destination=destination,
        reads=tuple(reader.reads),
        columns=tuple(edges),
        indirect=frozenset(reader.indirect),
        outputs=None if outputs is None else tuple(outputs),
        resolved=known * (reader.resolved / total if total else 1.0),
        **more,
    )


def query_flow(
    reader: Reader, query: exp.Expr, destination: Name | None, *, listed: Sequence[str] = (), **more: bool
) -> Flow:
    """The flow of a query into `destination`, its columns renamed to those that are `listed`."""
    relation = reader.query(query, None, reader.ctes)
    if listed:
        relation = renamed(relation, listed)
    outputs = list(relation.outputs())
    names = [o.name for o in outputs]
    return flow(reader, destination, zip(outputs, names, strict=True), outputs=names, **more)


def listed_columns(node: exp.Expr, reader: Reader) -> list[str]:
    """The column names that stand in parentheses after a table's name."""
    if not isinstance(node, exp.Schema):
        return []
    columns = (exp.Identifier, exp.ColumnDef, exp.Column)
    return [
        reader.column_name(e if isinstance(e, exp.Identifier) else e.this)
        for e in node.expressions
        if isinstance(e, columns)
    ]
