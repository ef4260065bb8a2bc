"""What one writes over sqlglot in an afternoon: the baseline of the lineage benchmark."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify

_DIALECTS = {"ansi": "", "generic": "", "sparksql": "spark"}
# What sqlglot warns of while it optimises ("Unknown subquery scope") says nothing about our figures.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
Failure = (sqlglot.errors.SqlglotError, RecursionError, AttributeError, KeyError, TypeError, ValueError, IndexError)


def naive(case: Mapping[str, Any]) -> dict[str, Any]:
    """The lineage of a case by `find_all(Table)`, `qualify` and `sqlglot.lineage`, column by column."""
    dialect = _DIALECTS.get(case["dialect"], case["dialect"])
    texts = [case["sql"]] if isinstance(case["sql"], str) else case["sql"]
    answer: dict[str, Any] = {"tables": [], "columns": [], "inputs": [], "outputs": [], "error": None}
    for text in texts:
        try:
            trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
        except Failure as error:
            answer["error"] = type(error).__name__
            continue
        for tree in trees:
            _tables(tree, answer)
            try:
                answer["columns"] += _columns(tree, dialect, case.get("schemas") or {})
            except Failure as error:
                answer["error"] = type(error).__name__
    return answer


def _name(table: exp.Expr) -> str:
    return ".".join(part.name for part in table.parts) if isinstance(table, exp.Table) else ""


def _target(tree: exp.Expr) -> exp.Table | None:
    if isinstance(tree, (exp.Create, exp.Insert, exp.Merge, exp.Update, exp.Delete)) and tree.this is not None:
        return tree.this if isinstance(tree.this, exp.Table) else tree.this.find(exp.Table)
    return None


def _tables(tree: exp.Expr, answer: dict[str, Any]) -> None:
    target = _target(tree)
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    sources = [_name(t) for t in tree.find_all(exp.Table) if t is not target and _name(t) not in ctes]
    answer["inputs"] += sources
    if target is not None:
        answer["outputs"].append(_name(target))
        answer["tables"] += [{"source": source, "destination": _name(target)} for source in sources]


def _columns(tree: exp.Expr, dialect: str, schemas: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    query = tree if isinstance(tree, exp.Query) else tree.args.get("expression")
    if not isinstance(query, exp.Query):
        return []
    schema: dict[str, Any] = {}
    for name, columns in schemas.items():
        at = schema
        *path, table = name.split(".")
        for part in path:
            at = at.setdefault(part, {})
        at[table] = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "text")
    query = qualify(query.copy(), dialect=dialect, schema=schema, validate_qualify_columns=False, identify=False)
    return [
        {"source_table": _name(leaf.expression), "source_column": leaf.name.rpartition(".")[2], "destination_column": n}
        for n in query.named_selects
        for leaf in _leaves(lineage(n, query, dialect=dialect, schema=schema))
    ]


def _leaves(node: Node) -> Iterator[Node]:
    return (leaf for leaf in node.walk() if not leaf.downstream and isinstance(leaf.expression, exp.Table))
