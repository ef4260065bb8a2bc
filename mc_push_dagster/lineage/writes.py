"""Statements: what each kind writes, and from what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlglot import exp

from mc_push_dagster.lineage.changes import assignments, delete, merge, target_entry, update
from mc_push_dagster.lineage.flows import flow, listed_columns, query_flow
from mc_push_dagster.lineage.moves import alter, copy, drop, export, use
from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.reader import CHANGES, Reader
from mc_push_dagster.lineage.relations import Derived, Output, Relation, Table
from mc_push_dagster.lineage.scope import Entry, Scope
from mc_push_dagster.lineage.sources import join_sources
from mc_push_dagster.lineage.steps import Create, Step, Transaction
from mc_push_dagster.lineage.targets import assigned, target_columns


def steps_of(tree: exp.Expr, reader: Reader, view: Name | None = None) -> Iterator[Step]:
    """What one parsed statement does; `view` names the view whose text it is."""
    if view is not None:
        query = tree.expression if isinstance(tree, exp.Create) else tree
        if isinstance(query, exp.Query):
            listed = listed_columns(tree.this, reader) if isinstance(tree, exp.Create) else []
            yield query_flow(reader, query, view, listed=listed, creates=True, view=True)
        return
    kind = next((k for k in _KINDS if isinstance(tree, k)), None)
    if kind is not None:
        yield from _nested_writes(tree, reader)
        yield from _KINDS[kind](tree, reader)


def _nested_writes(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """What INSERT, UPDATE and DELETE inside WITH do (PostgreSQL)."""
    clause = tree.args.get("with_")
    bodies = [cte.this for cte in clause.expressions if isinstance(cte.this, CHANGES)] if clause is not None else []
    for body in bodies:
        inner = reader.fresh()
        inner.ctes = inner.with_ctes(tree, None, reader.ctes)
        inner.reads.clear()
        yield from steps_of(body, inner)


def _query(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    into = next((s.args["into"] for s in _branches(tree) if s.args.get("into")), None)
    if into is None or not isinstance(into.this, exp.Table):
        yield query_flow(reader, tree, None)
        return
    name = reader.locate(reader.parts(into.this)).name
    temporary = bool(into.args.get("temporary")) or name[-1].startswith("#")
    yield query_flow(reader, tree, name, creates=True, temporary=temporary)


def _branches(tree: exp.Expr) -> Iterator[exp.Expr]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.SetOperation):
            stack += [node.expression, node.this]
        elif isinstance(node, exp.Subquery):
            stack.append(node.this)
        elif isinstance(node, exp.Select):
            yield node


# -- CREATE ----------------------------------------------------------------------------------------------------------


def _create(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if tree.args.get("kind") not in ("TABLE", "VIEW", "MATERIALIZED VIEW", "DYNAMIC TABLE") or not isinstance(
        target, exp.Table
    ):
        return
    name = reader.locate(reader.parts(target)).name
    properties = tree.args.get("properties")
    listed = listed_columns(tree.this, reader)
    temporary = name[-1].startswith("#") or bool(properties and properties.find(exp.TemporaryProperty))
    query, clone, like = tree.expression, tree.args.get("clone"), tree.find(exp.LikeProperty)
    if isinstance(query, exp.Expr):
        made = {"creates": True, "temporary": temporary, "view": tree.args["kind"] == "VIEW"}
        yield query_flow(reader, query, name, listed=listed, **made)
    elif clone is not None and isinstance(clone.this, exp.Table):
        table = reader.read(reader.parts(clone.this))
        pairs = [(o, o.name) for o in table.outputs()]
        yield flow(reader, name, pairs, outputs=[n for _, n in pairs], creates=True, temporary=temporary)
    elif like is not None and isinstance(like.this, exp.Table):
        # The shape is copied, no value is: an edge between tables, none between columns.
        table = reader.read(reader.parts(like.this))
        outputs = [o.name for o in table.outputs()] if table.closed else None
        yield flow(reader, name, outputs=outputs, creates=True, temporary=temporary, shape=True)
    else:
        yield Create(name=name, columns=tuple(listed) or None, temporary=temporary)


def _cache(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    if isinstance(tree.expression, exp.Query):
        name = reader.locate(reader.parts(tree.this)).name
        yield query_flow(reader, tree.expression, name, creates=True, temporary=True)


# -- INSERT ----------------------------------------------------------------------------------------------------------


def _insert(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    ctes = reader.with_ctes(tree, None, reader.ctes)
    yield from _insert_from(tree, reader, Scope(ctes))


def _insert_from(tree: exp.Expr, reader: Reader, scope: Scope) -> Iterator[Step]:
    """One INSERT whose query sees `scope` (a multi-table insert has its FROM outside)."""
    holder = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    body = tree.expression
    relation: Relation = Derived([])
    if scope.entries and isinstance(body, exp.Select) and body.args.get("from_") is None:
        inner = Scope(scope.ctes, None, list(scope.entries), aliases_usable=reader.rules.lateral_aliases)
        for lateral in body.args.get("laterals") or ():
            join_sources(reader, inner, lateral)
        relation = reader.select_items(body, inner)
    elif isinstance(body, exp.Values):
        relation = reader.values(body, scope)
    elif isinstance(body, exp.Expr):
        relation = reader.query(body, None, scope.ctes)
    if not isinstance(holder, exp.Table):
        yield flow(reader, None, outputs=[o.name for o in relation.outputs()])  # a directory, a function
        return
    parts = reader.parts(holder)
    table = reader.locate(parts)
    if len(parts) == 1 and parts[0].lower() in scope.ctes:
        return
    targets = target_columns(reader, table, tree, holder)
    pairs = assigned(relation.outputs(), targets, table, by_name=bool(tree.args.get("by_name")))
    pairs += _conflict(tree, reader, table, holder, pairs)
    yield flow(reader, table.name, pairs)


def _conflict(
    tree: exp.Expr, reader: Reader, table: Table, holder: exp.Expr, pairs: Sequence[tuple[Output, str]]
) -> list[tuple[Output, str]]:
    """ON CONFLICT DO UPDATE: what is set comes from the rows that were to be inserted (`excluded`)."""
    conflict = tree.args.get("conflict")
    if conflict is None:
        return []
    excluded = Derived([Output(name, output.sources) for output, name in pairs])
    scope = Scope({}, None, [Entry(("excluded",), excluded), target_entry(table, holder)])
    return [pair for e in conflict.expressions for _, pair in assignments(e, reader, scope, table)]


def _multi_insert(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    ctes = reader.with_ctes(tree, None, reader.ctes)
    scope = Scope(ctes)
    join_sources(reader, scope, tree.args["source"])
    for item in tree.expressions:
        insert = item
        if isinstance(item, exp.ConditionalInsert):
            insert = item.this
            if item.args.get("expression") is not None:
                reader.condition(item.expression, scope)
        before = dict(reader.reads)
        if insert.expression is None:
            # INTO t without VALUES takes the source's columns as they stand.
            relation = reader.all_columns(scope)
            holder = insert.this.this if isinstance(insert.this, exp.Schema) else insert.this
            table = reader.locate(reader.parts(holder))
            targets = target_columns(reader, table, insert, holder)
            yield flow(reader, table.name, assigned(relation.outputs(), targets, table))
        else:
            yield from _insert_from(insert, reader, scope)
        reader.reads = before


_KINDS: dict[type[exp.Expr], Callable[[exp.Expr, Reader], Iterator[Step]]] = {
    exp.Query: _query,
    exp.Pivot: _query,
    exp.Create: _create,
    exp.Cache: _cache,
    exp.Insert: _insert,
    exp.MultitableInserts: _multi_insert,
    exp.Merge: merge,
    exp.Update: update,
    exp.Delete: delete,
    exp.Copy: copy,
    exp.Export: export,
    exp.Alter: alter,
    exp.Drop: drop,
    exp.Use: use,
    exp.Transaction: lambda tree, reader: iter((Transaction.BEGIN,)),
    exp.Commit: lambda tree, reader: iter((Transaction.COMMIT,)),
    exp.Rollback: lambda tree, reader: iter((Transaction.ROLLBACK,)),
}
