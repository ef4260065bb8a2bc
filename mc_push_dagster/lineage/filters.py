"""What decides which rows a query gives, but not what stands in them: WHERE, GROUP BY, ORDER BY, DISTINCT ..."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mc_push_dagster.lineage.relations import Output
from mc_push_dagster.lineage.scope import Scope

if TYPE_CHECKING:
    from mc_push_dagster.lineage.reader import Reader

_CLAUSES = ("where", "having", "qualify", "group", "order", "distinct", "cluster", "sort", "windows", "limit")
_NUMBERED = ("group", "order")
"""Clauses in which a number is the position of a select item, and ALL stands for several of them."""
_LISTS = (exp.Group, exp.Order, exp.Ordered, exp.Rollup, exp.Cube, exp.GroupingSets, exp.Tuple, exp.Paren)

Items = Sequence[tuple[exp.Expr, Sequence[Output]]]
"""Select items with the columns that each gives."""


def filtered(reader: Reader, node: exp.Expr, scope: Scope, items: Items) -> None:
    """Remember as indirect evidence what the clauses of a query take its rows by."""
    for key in _CLAUSES:
        clause = node.args.get(key)
        for part in clause if isinstance(clause, list) else [clause]:
            if isinstance(part, exp.Expr):
                reader.condition(part, scope)
                if key in _NUMBERED:
                    _remember(reader, _positions(part, items))
                if key == "distinct" and part.args.get("on") is None:
                    _remember(reader, _outputs(items))


def _remember(reader: Reader, outputs: Iterator[Output]) -> None:
    reader.indirect.update(*(output.sources for output in outputs))


def _outputs(items: Items) -> Iterator[Output]:
    return (output for _, outputs in items for output in outputs)


def _positions(clause: exp.Expr, items: Items) -> Iterator[Output]:
    """The outputs that GROUP BY or ORDER BY calls by number, or by ALL."""
    columns = list(_outputs(items))
    for part in _parts(clause):
        if isinstance(part, exp.Literal) and not part.is_string and part.name.isdigit():
            yield from columns[int(part.name) - 1 : int(part.name)] if int(part.name) else ()
        elif isinstance(part, exp.Var) and part.name.upper() == "ALL":
            yield from columns
    if isinstance(clause, exp.Group) and clause.args.get("all"):
        # Snowflake, Databricks, BigQuery, DuckDB: GROUP BY ALL means each item that aggregates nothing.
        yield from (output for item, outputs in items if not _aggregates(item) for output in outputs)


def _parts(clause: exp.Expr) -> Iterator[exp.Expr]:
    """What stands in a list of keys, through ROLLUP, CUBE, GROUPING SETS and parentheses."""
    stack = [clause]
    while stack:
        node = stack.pop()
        if isinstance(node, _LISTS):
            stack.extend(node.iter_expressions())
        else:
            yield node


def _aggregates(item: exp.Expr) -> bool:
    stack = [item]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.AggFunc) and not isinstance(node.parent, exp.Window):
            return True
        if not isinstance(node, exp.Query):
            stack.extend(node.iter_expressions())
    return False
