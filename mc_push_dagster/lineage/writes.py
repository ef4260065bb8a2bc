"""Statements: what each kind writes, and from what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from sqlglot import exp

from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.relations import STAR, Derived, Output, Relation, Source, Table, renamed
from mc_push_dagster.lineage.scope import Entry, Scope, call_names
from mc_push_dagster.lineage.sources import join_sources
from mc_push_dagster.lineage.steps import Create, Drop, Flow, Rename, Step, Swap, Transaction, Use
from mc_push_dagster.lineage.targets import assigned, target_columns
from mc_push_dagster.lineage.values import sources_of

Open = Callable[[], Reader]
Columns = Iterable[tuple[Output, str]]


def steps_of(tree: exp.Expr, reader: Reader, view: Name | None = None) -> Iterator[Step]:
    """What one parsed statement does; `view` names the view whose text it is."""
    if view is not None:
        query = tree.expression if isinstance(tree, exp.Create) else tree
        if isinstance(query, exp.Query):
            listed = _listed(tree.this, reader) if isinstance(tree, exp.Create) else []
            yield _query_flow(reader, query, view, listed=listed, creates=True, view=True)
        return
    kind = next((k for k in _KINDS if isinstance(tree, k)), None)
    if kind is not None:
        yield from _nested_writes(tree, reader)
        yield from _KINDS[kind](tree, reader)


def _nested_writes(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """What INSERT, UPDATE and DELETE inside WITH do (PostgreSQL)."""
    clause = tree.args.get("with_")
    bodies = [cte.this for cte in clause.expressions if isinstance(cte.this, exp.DML)] if clause is not None else []
    for body in bodies:
        inner = reader.fresh()
        inner.ctes = inner.with_ctes(tree, None, reader.ctes)
        inner.reads.clear()
        yield from steps_of(body, inner)


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


def _query_flow(
    reader: Reader, query: exp.Expr, destination: Name | None, *, listed: Sequence[str] = (), **more: bool
) -> Flow:
    relation = reader.query(query, None, reader.ctes)
    if listed:
        relation = renamed(relation, listed)
    outputs = list(relation.outputs())
    names = [o.name for o in outputs]
    return flow(reader, destination, zip(outputs, names, strict=True), outputs=names, **more)


def _query(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    into = next((s.args["into"] for s in _branches(tree) if s.args.get("into")), None)
    if into is None or not isinstance(into.this, exp.Table):
        yield _query_flow(reader, tree, None)
        return
    name = reader.locate(reader.parts(into.this)).name
    temporary = bool(into.args.get("temporary")) or name[-1].startswith("#")
    yield _query_flow(reader, tree, name, creates=True, temporary=temporary)


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
    listed = _listed(tree.this, reader)
    temporary = name[-1].startswith("#") or bool(properties and properties.find(exp.TemporaryProperty))
    query, clone, like = tree.expression, tree.args.get("clone"), tree.find(exp.LikeProperty)
    if isinstance(query, exp.Expr):
        made = {"creates": True, "temporary": temporary, "view": tree.args["kind"] == "VIEW"}
        yield _query_flow(reader, query, name, listed=listed, **made)
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


def _listed(node: exp.Expr, reader: Reader) -> list[str]:
    """The column names that stand in parentheses after a table's name."""
    if not isinstance(node, exp.Schema):
        return []
    columns = (exp.Identifier, exp.ColumnDef, exp.Column)
    return [
        reader.column_name(e if isinstance(e, exp.Identifier) else e.this)
        for e in node.expressions
        if isinstance(e, columns)
    ]


def _cache(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    if isinstance(tree.expression, exp.Query):
        name = reader.locate(reader.parts(tree.this)).name
        yield _query_flow(reader, tree.expression, name, creates=True, temporary=True)


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
    scope = Scope({}, None, [Entry(("excluded",), excluded), _target_entry(table, holder)])
    return [pair for e in conflict.expressions for _, pair in _assignments(e, reader, scope, table)]


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


# -- MERGE, UPDATE, DELETE -------------------------------------------------------------------------------------------


def _target_entry(table: Table, node: exp.Expr) -> Entry:
    alias = node.args.get("alias")
    label = alias.name.lower() if alias is not None and alias.name else ""
    written = tuple(p.name for p in node.parts) if isinstance(node, exp.Table) else table.name
    names = tuple(dict.fromkeys((*call_names(written), *call_names(table.name))))
    return Entry((label,) if label else names, table, formal=names if label else ())


def _merge(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    ctes = reader.with_ctes(tree, None, reader.ctes)
    table = reader.locate(reader.parts(tree.this))
    sources = Scope(ctes)
    join_sources(reader, sources, tree.args["using"])
    # Unqualified names in a branch mean the source: the target comes last.
    scope = Scope(ctes, None, [*sources.entries, _target_entry(table, tree.this)])
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
        if any(isinstance(e, exp.Star) for e in then.expressions):
            return assigned(reader.all_columns(sources).outputs(), None, table)
        return [pair for e in then.expressions for _, pair in _assignments(e, reader, scope, table)]
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


def _update(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
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
        scope.entries.append(_target_entry(table, tree.this))
    if tree.args.get("where") is not None:
        reader.condition(tree.args["where"], scope)
    written: dict[Name, list[tuple[Output, str]]] = {table.name: []}
    for expression in tree.expressions:
        for name, pair in _assignments(expression, reader, scope, table):
            written.setdefault(name, []).append(pair)
    for name, pairs in written.items():
        yield flow(reader, name, pairs)


def _assignments(
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


def _delete(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    if not isinstance(tree.this, exp.Table):
        return
    scope = Scope(reader.with_ctes(tree, None, reader.ctes))
    using = tree.args.get("using") or []
    for item in using if isinstance(using, list) else [using]:
        join_sources(reader, scope, item)
    table = reader.locate(reader.parts(tree.this))
    scope.entries.append(_target_entry(table, tree.this))
    if tree.args.get("where") is not None:
        reader.condition(tree.args["where"], scope)
    yield flow(reader, table.name)


# -- files, and names that change ------------------------------------------------------------------------------------


def _copy(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    queries = [f for f in tree.args.get("files") or () if isinstance(f, exp.Query)]
    if isinstance(tree.this, exp.Query):
        yield _query_flow(reader, tree.this, None)
        return
    if not isinstance(target, exp.Table):
        return
    stage = isinstance(target.this, exp.Var)
    if not tree.args.get("kind") and not stage:
        reader.read(reader.parts(target))  # COPY t TO file
        yield flow(reader, None, outputs=[])
        return
    if stage:
        for file in tree.args.get("files") or ():
            if isinstance(file, exp.Query):
                yield _query_flow(reader, file, None)
            elif isinstance(file, exp.Table):
                reader.read(reader.parts(file))
                yield flow(reader, None, outputs=[])
        return
    table = reader.locate(reader.parts(target))
    pairs: list[tuple[Output, str]] = []
    for query in queries:
        outputs = reader.query(query, None, reader.ctes).outputs()
        pairs += assigned(outputs, _listed(tree.this, reader) or None, table)
    yield flow(reader, table.name, pairs)


def _export(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    if isinstance(tree.this, exp.Query):
        yield _query_flow(reader, tree.this, None)


def _alter(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    if not isinstance(tree.this, exp.Table):
        return
    parts = reader.parts(tree.this)
    name = reader.locate(parts).name
    for action in tree.args.get("actions") or ():
        if isinstance(action, exp.AlterRename) and isinstance(action.this, exp.Table):
            new = reader.parts(action.this)
            # A bare new name stays in the old one's schema.
            yield Rename(old=name, new=(*name[:-1], *new) if len(new) == 1 else reader.locate(new).name)
        elif isinstance(action, exp.SwapTable):
            yield Swap(first=name, second=reader.locate(reader.parts(action.this)).name)


def _drop(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    if tree.args.get("kind") in ("TABLE", "VIEW", "MATERIALIZED VIEW"):
        for table in tree.args.get("tables") or [tree.this]:
            if isinstance(table, exp.Table):
                yield Drop(name=reader.locate(reader.parts(table)).name)


def _use(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    if not isinstance(tree.this, exp.Table):
        return
    kind = tree.args["kind"].name.upper() if tree.args.get("kind") is not None else ""
    parts = reader.parts(tree.this)
    if kind in ("ROLE", "WAREHOUSE", "SECONDARY"):
        return
    if len(parts) > 1:
        yield Use(database=parts[-2], schema=parts[-1])
    elif kind == "SCHEMA" or reader.rules.use_names_schema:
        yield Use(schema=parts[0])
    else:
        yield Use(database=parts[0])


_KINDS: dict[type[exp.Expr], Callable[[exp.Expr, Reader], Iterator[Step]]] = {
    exp.Query: _query,
    exp.Create: _create,
    exp.Cache: _cache,
    exp.Insert: _insert,
    exp.MultitableInserts: _multi_insert,
    exp.Merge: _merge,
    exp.Update: _update,
    exp.Delete: _delete,
    exp.Copy: _copy,
    exp.Export: _export,
    exp.Alter: _alter,
    exp.Drop: _drop,
    exp.Use: _use,
    exp.Transaction: lambda tree, reader: iter((Transaction.BEGIN,)),
    exp.Commit: lambda tree, reader: iter((Transaction.COMMIT,)),
    exp.Rollback: lambda tree, reader: iter((Transaction.ROLLBACK,)),
}

__all__ = ["STAR", "steps_of"]
