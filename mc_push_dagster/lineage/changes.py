"""MERGE, UPDATE and DELETE, and the assignments of upserts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from mc_push_dagster.lineage.flows import flow
from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.relations import Output, Table
from mc_push_dagster.lineage.scope import Entry, Scope, call_names
from mc_push_dagster.lineage.sources import join_sources
from mc_push_dagster.lineage.steps import Step
from mc_push_dagster.lineage.targets import assigned
from mc_push_dagster.lineage.values import sources_of


def target_entry(table: Table, node: exp.Expr) -> Entry:
    """The written table as a source: its old values may be read."""
    alias = node.args.get("alias")
    label = alias.name.lower() if alias is not None and alias.name else ""
    written = tuple(p.name for p in node.parts) if isinstance(node, exp.Table) else table.name
    names = tuple(dict.fromkeys((*call_names(written), *call_names(table.name))))
    return Entry((label,) if label else names, table, formal=names if label else ())


def merge(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """What all branches of a MERGE write."""
    ctes = reader.with_ctes(tree, None, reader.ctes)
    table = reader.locate(reader.parts(tree.this))
    sources = Scope(ctes)
    join_sources(reader, sources, tree.args["using"])
    # Unqualified names in a branch mean the source: the target comes last.
    target = target_entry(table, tree.this)
    target.hidden = True
    scope = Scope(ctes, None, [*sources.entries, target])
    if tree.args.get("on") is not None:
        reader.condition(tree.args["on"], scope)
    pairs: list[tuple[Output, str]] = []
    for when in tree.args["whens"].expressions:
        if when.args.get("condition") is not None:
            reader.condition(when.args["condition"], scope)
        pairs += _merge_branch(when.args.get("then"), reader, scope, sources, table)
    yield flow(reader, table.name, pairs)


def _merge_branch(
    then: exp.Expr | None, reader: Reader, scope: Scope, sources: Scope, table: Table
) -> list[tuple[Output, str]]:
    if isinstance(then, exp.Update):
        listed = then.args.get("expressions")
        if isinstance(listed, exp.Star) or any(isinstance(e, exp.Star) for e in listed or ()):
            return assigned(reader.all_columns(sources).outputs(), None, table)
        return [pair for e in then.expressions for _, pair in assignments(e, reader, scope, table)]
    if not isinstance(then, exp.Insert):
        return []
    if not isinstance(then.expression, exp.Expr):
        return assigned(reader.all_columns(sources).outputs(), None, table)
    values = then.expression.expressions if isinstance(then.expression, exp.Tuple) else [then.expression]
    outputs = [Output(reader.output_name(v, i)[0], sources_of(reader, v, scope)) for i, v in enumerate(values)]
    listed = [_column_of(reader, e) for e in then.this.expressions] if isinstance(then.this, exp.Tuple) else []
    if not listed and isinstance(then.this, (exp.Column, exp.Identifier)):
        listed = [_column_of(reader, then.this)]
    known = [o.name for o in table.outputs()] if table.closed else None
    return assigned(outputs, listed or known, table)


def update(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """What an UPDATE writes; with joins on its left side that may be several tables."""
    ctes = reader.with_ctes(tree, None, reader.ctes)
    scope = Scope(ctes)
    source = tree.args.get("from_")
    for item in (source.this, *(source.args.get("joins") or ())) if source is not None else ():
        join_sources(reader, scope, item)
    for join in tree.this.args.get("joins") or ():
        join_sources(reader, scope, join)
    own = scope.entry(tree.this.name) if source is not None and len(tree.this.parts) == 1 else None
    if own is not None and isinstance(own.relation, Table):
        table = own.relation  # UPDATE t SET ... FROM orders AS t: the alias names the target
    else:
        table = reader.locate(reader.parts(tree.this))
        scope.entries.append(target_entry(table, tree.this))
    if tree.args.get("where") is not None:
        reader.condition(tree.args["where"], scope)
    written: dict[Name, list[tuple[Output, str]]] = {table.name: []}
    for expression in tree.expressions:
        for name, pair in assignments(expression, reader, scope, table):
            written.setdefault(name, []).append(pair)
    for name, pairs in written.items():
        yield flow(reader, name, pairs)


def assignments(
    node: exp.Expr, reader: Reader, scope: Scope, table: Table
) -> Iterator[tuple[Name, tuple[Output, str]]]:
    """The columns that one `SET a = ...` or `SET (a, b) = ...` writes, each with the table it is in."""
    if not isinstance(node, (exp.EQ, exp.PropertyEQ)):
        return
    left, right = node.this, node.expression
    if isinstance(left, exp.Tuple):
        names, values = left.expressions, _tuple_values(right, reader, scope, len(left.expressions))
    else:
        names, values = [left], [Output("", sources_of(reader, right, scope))]
    for name, value in zip(names, values, strict=False):
        target = table
        if isinstance(name, exp.Column) and name.table:
            entry = scope.entry(name.table)
            target = entry.relation if entry is not None and isinstance(entry.relation, Table) else table
        for pair in assigned([Output(_column_of(reader, name), value.sources)], None, target):
            yield target.name, pair


def _column_of(reader: Reader, node: exp.Expr) -> str:
    while isinstance(node, (exp.Dot, exp.Bracket)):
        node = node.this  # a struct field is set: its column changes
    return reader.column_name(node.this if isinstance(node, exp.Column) else node)


def _tuple_values(node: exp.Expr, reader: Reader, scope: Scope, length: int) -> Sequence[Output]:
    inner = node.this if isinstance(node, (exp.Subquery, exp.Paren)) else node
    if isinstance(inner, exp.Query):
        return reader.query(inner, scope, scope.ctes).outputs()
    if isinstance(inner, exp.Tuple):
        return [Output("", sources_of(reader, e, scope)) for e in inner.expressions]
    return [Output("", sources_of(reader, node, scope))] * length


def delete(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """A DELETE moves no values; the tables that say which rows go are its sources."""
    if not isinstance(tree.this, exp.Table):
        return
    scope = Scope(reader.with_ctes(tree, None, reader.ctes))
    using = tree.args.get("using") or []
    for item in using if isinstance(using, list) else [using]:
        join_sources(reader, scope, item)
    table = reader.locate(reader.parts(tree.this))
    scope.entries.append(target_entry(table, tree.this))
    if tree.args.get("where") is not None:
        reader.condition(tree.args["where"], scope)
    yield flow(reader, table.name)
