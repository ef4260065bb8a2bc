"""FROM: tables, subqueries, joins, lateral views, unnested arrays, table functions, pivots."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.pivots import pivoted
from mc_push_dagster.lineage.relations import NOTHING, Relation, Sources, Spread, renamed
from mc_push_dagster.lineage.scope import Entry, Scope, call_names
from mc_push_dagster.lineage.values import sources_of

if TYPE_CHECKING:
    from mc_push_dagster.lineage.reader import Reader

_FILE_FORMATS = frozenset({"parquet", "csv", "json", "orc", "avro", "text", "delta", "binaryfile", "iceberg"})
_FILE = re.compile(
    r"(^|.)[/\\]|^[a-z0-9+]+://|\.(parquet|csv|tsv|json|jsonl|ndjson|avro|orc|xlsx)(\.\w+)?$", re.IGNORECASE
)
_FLATTENED = ("SEQ", "KEY", "PATH", "INDEX", "VALUE", "THIS")


def join_sources(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    """Add one item of a FROM clause, or one join, to `scope`."""
    if isinstance(node, exp.Join):
        _join(reader, scope, node)
        return
    kind = next((k for k in _KINDS if isinstance(node, k)), None)
    if kind is not None:
        _KINDS[kind](reader, scope, node)
    else:
        _add(scope, node, Spread(sources_of(reader, node, scope), reader.alias_columns(node)))
    for join in node.args.get("joins") or ():
        _join(reader, scope, join)
    for lateral in node.args.get("laterals") or ():
        join_sources(reader, scope, lateral)


def _add(scope: Scope, node: exp.Expr, relation: Relation, names: tuple[str, ...] | None = None) -> None:
    """Give a relation its alias and its pivots, and make it a source."""
    alias = node.args.get("alias")
    label = alias.name.lower() if alias is not None and alias.name else ""
    scope.entries.append(Entry(names=(label,) if label else names or (), relation=relation))


def _shaped(reader: Reader, scope: Scope, node: exp.Expr, relation: Relation) -> tuple[Relation, str]:
    """A relation after its column aliases and pivots, and the alias that the last pivot gives."""
    columns = reader.alias_columns(node)
    if columns:
        relation = renamed(relation, columns)
    label = ""
    for pivot in node.args.get("pivots") or ():
        relation = pivoted(reader, scope, relation, pivot)
        label = pivot.alias.lower() or label
    return relation, label


def _join(reader: Reader, scope: Scope, join: exp.Join) -> None:
    before = len(scope.entries)
    join_sources(reader, scope, join.this)
    added = scope.entries[before:]
    kind = join.kind.upper()
    if kind in ("SEMI", "ANTI"):
        for entry in added:
            entry.hidden = True
    using = [i.name for i in join.args.get("using") or ()]
    if (join.method or "").upper() == "NATURAL":
        left = {o.name.lower() for e in scope.entries[:before] for o in e.relation.outputs()}
        using = [o.name for e in added for o in e.relation.outputs() if o.name.lower() in left and o.name != "*"]
    for column in using:
        _merge(reader, scope, before, column, (join.side or "").upper())
    for key in ("on", "match_condition"):
        condition = join.args.get(key)
        if condition is not None:
            reader.condition(condition, scope)


def _merge(reader: Reader, scope: Scope, before: int, column: str, side: str) -> None:
    """USING: one column where two were; its values are those of the side that has all rows."""
    left = scope.using.get(column.lower()) or _first(scope.entries[:before], column)
    right = _first(scope.entries[before:], column)
    sides = {"RIGHT": right, "FULL": left | right}
    scope.using[column.lower()] = sides.get(side, left)
    reader.indirect |= left | right


def _first(entries: Sequence[Entry], column: str) -> Sources:
    for way in ("known", "column"):
        for entry in entries:
            found = getattr(entry.relation, way)(column)
            if found:
                return found
    return NOTHING


# -- the kinds of sources -------------------------------------------------------------------------------------------


def _table(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    inner = node.this
    named = isinstance(inner, exp.DynamicIdentifier)
    if (isinstance(inner, (exp.Func, exp.Paren)) and not named) or (
        isinstance(inner, exp.Dot) and inner.find(exp.Func)
    ):
        _function(reader, scope, node)
        return
    if isinstance(inner, exp.Var) or not isinstance(node, exp.Table):
        _add(scope, node, Spread(NOTHING, reader.alias_columns(node)))  # a stage: files, not a table
        return
    parts = reader.parts(node)
    relation, names = _named(reader, scope, node, parts)
    relation, label = _shaped(reader, scope, node, relation)
    alias = node.args.get("alias")
    label = label or (alias.name.lower() if alias is not None and alias.name else "")
    scope.entries.append(Entry((label,) if label else names, relation, formal=names if label else ()))


def _named(reader: Reader, scope: Scope, node: exp.Table, parts: Name) -> tuple[Relation, tuple[str, ...]]:
    if isinstance(node.this, exp.DynamicIdentifier):
        parts = written_parts(node.this.this)
    if not parts:
        return Spread(NOTHING), ()
    if len(parts) == 1:
        cte = scope.ctes.get(parts[0].lower())
        if cte is not None:
            return reader.common(cte), (parts[0].lower(),)
    if is_file(parts):
        return Spread(NOTHING), call_names(parts)
    if len(parts) > 1 and reader.rules.array_joins and scope.entry(parts[0]) is not None:
        sources = scope.column(parts) or NOTHING
        alias = node.alias or parts[-1]
        return Spread(sources, [alias]), (alias.lower(),)
    table = reader.read(parts)
    return table, tuple(dict.fromkeys((*call_names(parts), *call_names(table.name))))


def written_parts(node: exp.Expr) -> Name:
    """The parts of a table name that stands in a string: IDENTIFIER('a.b'), TABLE('a.b')."""
    return tuple(part.strip('"`') for part in node.name.split("."))


def is_file(parts: Name) -> bool:
    """True if what looks like a table is a file (Spark's `csv.`/path``, DuckDB's 'file.parquet')."""
    if len(parts) > 1 and parts[-2].lower() in _FILE_FORMATS and "/" in parts[-1]:
        return True
    return len(parts) == 1 and _FILE.search(parts[0]) is not None


def _subquery(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    inner = node.this
    if isinstance(inner, (exp.Table, exp.Subquery)) and not node.alias and not isinstance(inner.this, exp.Query):
        join_sources(reader, scope, inner)  # parentheses around a join
        return
    if isinstance(inner, exp.Query):
        relation = reader.query(inner, scope.outer, reader.with_ctes(node, scope.outer, scope.ctes))
    else:
        nested = Scope(scope.ctes, scope.outer)
        join_sources(reader, nested, inner)
        relation = _joined(nested)
        if node.alias:
            # (a JOIN b) AS j: the inner names are gone, but some engines still see them.
            scope.entries.extend(Entry(names=e.names, relation=e.relation, hidden=True) for e in nested.entries)
    relation, label = _shaped(reader, scope, node, relation)
    _add(scope, node, relation, (label,) if label else None)


def _joined(scope: Scope) -> Relation:
    from mc_push_dagster.lineage.stars import expand

    return expand(scope, None, None)


def _query(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    _add(scope, node, reader.query(node, scope.outer, scope.ctes))


def _lateral(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    inner = node.this
    if isinstance(inner, exp.Query):
        relation = reader.query(inner, scope, scope.ctes)
        columns = reader.alias_columns(node)
        _add(scope, node, renamed(relation, columns) if columns else relation)
    else:
        _function(reader, scope, node)


def _function(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    """A table function: its columns are made of its arguments."""
    changed = _changed_table(node.this)
    if changed:
        relation = reader.read(changed)
        _add(scope, node, relation, call_names(relation.name))
        return
    sources = sources_of(reader, node.this, scope) if isinstance(node.this, exp.Expr) else NOTHING
    for expression in node.expressions:
        sources |= sources_of(reader, expression, scope)
    names = reader.alias_columns(node)
    flattened = isinstance(node.this, exp.Explode) and not names and isinstance(node, (exp.TableFromRows, exp.Lateral))
    alias = node.args.get("alias")
    if flattened:
        names = list(_FLATTENED)
    elif not names and alias is not None and alias.name:
        names = [alias.name]
    _add(scope, node, Spread(sources, names))


def _changed_table(node: exp.Expr) -> Name:
    """The table whose rows a function gives, called by its name in a string (Databricks' table_changes)."""
    if not isinstance(node, exp.Anonymous) or node.name.lower() != "table_changes":
        return ()
    first = node.expressions[0] if node.expressions else None
    return written_parts(first) if isinstance(first, exp.Literal) and first.is_string else ()


def _table_from_rows(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    if isinstance(node.this, exp.Literal):
        relation = reader.read(written_parts(node.this))
        _add(scope, node, relation, call_names(relation.name))
        return
    _function(reader, scope, node)


def _unnest(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    sources = frozenset().union(*(sources_of(reader, e, scope) for e in node.expressions))
    alias = node.args.get("alias")
    names = reader.alias_columns(node) or ([alias.name] if alias is not None and alias.name else [])
    labels = tuple(n.lower() for n in ([alias.name] if alias is not None and alias.name else names[:1]))
    offset = node.args.get("offset")
    scope.entries.append(Entry(names=labels, relation=Spread(sources, names)))
    if isinstance(offset, exp.Identifier):
        scope.entries.append(Entry(names=(), relation=Spread(NOTHING, [offset.name])))


def _pivot_statement(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    inner = Scope(scope.ctes, scope.outer)
    join_sources(reader, inner, node.this)
    _add(scope, node, pivoted(reader, inner, _joined(inner), node))


def _stream(reader: Reader, scope: Scope, node: exp.Expr) -> None:
    inner = node.this
    while isinstance(inner, (exp.Subquery, exp.Paren)) and isinstance(inner.this, (exp.Table, exp.Subquery, exp.Paren)):
        inner = inner.this
    before = len(scope.entries)
    join_sources(reader, scope, inner)
    alias = node.args.get("alias")
    if alias is not None and alias.name:
        for entry in scope.entries[before:]:
            entry.names = (alias.name.lower(),)


_KINDS: dict[type[exp.Expr], Callable[[Reader, Scope, exp.Expr], None]] = {
    exp.Table: _table,
    exp.Subquery: _subquery,
    exp.Lateral: _lateral,
    exp.Unnest: _unnest,
    exp.TableFromRows: _table_from_rows,
    exp.Values: _query,
    exp.Select: _query,
    exp.SetOperation: _query,
    exp.Pivot: _pivot_statement,
    exp.Stream: _stream,
}
